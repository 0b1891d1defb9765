"""JSON Lines of what people decide on a page: a row is on the disk before they hear that it is saved."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import SetupError


class SavedRows:
    """A file of rows that this process alone writes. What it has at first stays."""

    def __init__(self, path: Path, command: str, row: str) -> None:
        """Opens or makes the file; `command` and `row` are what messages call the writer and a line.

        Raises SetupError if it can't be written, another process writes it, or it ends in something else.
        """
        self.path = path
        self._row = row
        new = not path.exists()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise SetupError(f"can't write {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise SetupError(
                f"another `aqaa-data {command}` writes {path}: stop it, or name another file"
            ) from None
        try:
            self.lost = self._mend()
            """The end of a line that an earlier process died in; nobody heard that it was saved."""
        except SetupError:
            os.close(self._file)
            raise
        if new:
            _sync_folder(path.parent)

    def _mend(self) -> str | None:
        """Give the last line its end, or remove it if it was written in part; returns what was removed."""
        content = self.path.read_bytes()
        rest = content[content.rfind(b"\n") + 1 :]
        if not rest:
            return None
        try:
            json.loads(rest)
        except ValueError:
            # Only the start of a row is ours to remove.
            if not rest.startswith(b"{"):
                raise SetupError(
                    f"the last line of {self.path} is no {self._row}: name the file of the {self._row}s, or "
                    "a new one"
                ) from None
            os.ftruncate(self._file, len(content) - len(rest))
            os.fsync(self._file)
            return rest.decode(errors="replace")
        self._write(b"\n")
        return None

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row. Raises OSError if it isn't on the disk; the file is as it was then."""
        if not self.path.exists() or not os.path.samestat(self.path.stat(), os.fstat(self._file)):
            raise OSError(f"{self.path} was moved or replaced")
        size = os.fstat(self._file).st_size
        try:
            self._write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        except OSError:
            os.ftruncate(self._file, size)
            raise

    def _write(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._file, line) :]
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def _sync_folder(folder: Path) -> None:
    """Keep the name of a new file, not only its content, through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
