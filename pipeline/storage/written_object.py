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
        # A copy: the writer keeps what it is given, and the caller may use its memory for something else.
        written: int = self._writer.write(bytes(data))
        self._size += written
        return written
