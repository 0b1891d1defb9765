"""An object that is uploaded while it is written."""

import io
from typing import Any


class WrittenObject(io.RawIOBase):
    """A raw file over obstore's writer. Closing it ends nothing: whoever opened the writer closes it, unless
    there was an error."""

    def __init__(self, writer: Any) -> None:
        self._writer, self._size = writer, 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        written: int = self._writer.write(memoryview(data).cast("B"))
        self._size += written
        return written
