"""DCP's checkpoints as objects: each process writes its own while it goes through its tensors, and reads of
those of others what it needs."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from torch.distributed.checkpoint.filesystem import FileSystemBase, FileSystemReader, FileSystemWriter

from stages.train.remote import Objects

METADATA = ".metadata"
"""Written last: a checkpoint counts once it is there."""

_Path = str | os.PathLike[str]


class ObjectWriter(FileSystemWriter):
    def __init__(self, objects: Objects, path: str) -> None:
        super().__init__(path, sync_files=False)
        self.fs = cast(Any, _ObjectFiles(objects))
        self.path = path


class ObjectReader(FileSystemReader):
    def __init__(self, objects: Objects, path: str) -> None:
        super().__init__(path)
        self.fs = cast(Any, _ObjectFiles(objects))
        self.path = path

    def _slice_file(self, file: IO[bytes], sinfo: Any) -> IO[bytes]:
        """A tensor in one request; the library would go back and forth in it."""
        file.seek(sinfo.offset)
        return io.BytesIO(file.read(sinfo.length))


class _ObjectFiles(FileSystemBase):
    """What the library does with files."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @contextmanager
    def create_stream(self, path: _Path, mode: str) -> Iterator[io.IOBase]:
        opened = self._objects.create(str(path)) if "w" in mode else self._objects.open(str(path))
        with opened as stream:
            yield cast(io.IOBase, stream)

    def concat_path(self, path: _Path, suffix: str) -> str:
        return f"{path}/{suffix}"

    def rename(self, path: _Path, new_path: _Path) -> None:
        with self._objects.open(str(path)) as content:
            self._objects.put(str(new_path), content.read())
        self.rm_file(path)

    def init_path(self, path: _Path) -> str:
        return str(path)

    def mkdir(self, path: _Path) -> None:
        pass

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: _Path) -> bool:
        return True

    def exists(self, path: _Path) -> bool:
        return self._objects.exists(str(path))

    def rm_file(self, path: _Path) -> None:
        self._objects.delete([str(path)])
