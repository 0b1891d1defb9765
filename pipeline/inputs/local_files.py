"""Walking a local folder: everything in it is listed, also what can't be opened."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pipeline.inputs.refusals import CANNOT_OPEN, DANGLING, LINK_LOOP, NO_PERMISSION, NOT_A_FILE
from pipeline.storage.store import StoredObject, local_object
from schemas.errors import SetupError

_REASONS = {
    errno.ENOENT: DANGLING,
    errno.ELOOP: LINK_LOOP,
    errno.EACCES: NO_PERMISSION,
    errno.EPERM: NO_PERMISSION,
}


class _Parents:
    """The folders above an entry: (device, inode) of each."""

    def __init__(self, folder: os.stat_result, above: "_Parents | None") -> None:
        self._own = folder.st_dev, folder.st_ino
        self._above = above

    def __contains__(self, folder: os.stat_result) -> bool:
        parents: _Parents | None = self
        while parents is not None:
            if parents._own == (folder.st_dev, folder.st_ino):
                return True
            parents = parents._above
        return False


def walk(root: Path) -> Iterator[StoredObject]:
    """Every file under a folder, through links; paths relative to it, with bytes that aren't UTF-8 escaped as
    Python does (`os.fsdecode`).

    What can't be opened has a tag of `REFUSALS`. Raises SetupError if the folder itself can't be read.
    """
    try:
        folders = [("", _Parents(root.stat(), None))]
        os.scandir(root).close()
    except OSError as error:
        raise SetupError(f"can't read the input {root}: {error.strerror}") from error
    while folders:
        folder, parents = folders.pop()
        try:
            entries = _entries(root, folder)
        except OSError as error:
            yield _refused(folder, error)
            continue
        for path, found in entries:
            if isinstance(found, StoredObject):
                yield found
            elif found in parents:
                yield StoredObject(path, 0, LINK_LOOP, 0)
            else:
                folders.append((path, _Parents(found, parents)))


def files_in(folder: Path) -> Iterator[StoredObject]:
    """The files of a folder, without those in folders below it."""
    return (found for _, found in _entries(folder, "") if isinstance(found, StoredObject))


def file_at(folder: Path, path: str) -> StoredObject:
    """A file by its path; one that can't be opened has a tag of `REFUSALS`. Raises FileNotFoundError."""
    try:
        status = (folder / path).stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and not (folder / path).is_symlink():
            raise FileNotFoundError(path) from error
        return _refused(path, error)
    return (
        local_object(path, status) if stat.S_ISREG(status.st_mode) else StoredObject(path, 0, NOT_A_FILE, 0)
    )


def _entries(root: Path, folder: str) -> list[tuple[str, StoredObject | os.stat_result]]:
    """(path under the root, file or folder) of each entry of a folder. Raises OSError."""
    found: list[tuple[str, StoredObject | os.stat_result]] = []
    with os.scandir(root / folder) as scanned:
        for entry in scanned:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                status = entry.stat()
            except OSError as error:
                if error.errno != errno.ENOENT or entry.is_symlink():  # else deleted since it was listed
                    found.append((path, _refused(path, error)))
                continue
            if stat.S_ISDIR(status.st_mode):
                found.append((path, status))
            elif stat.S_ISREG(status.st_mode):
                found.append((path, local_object(path, status)))
            else:
                found.append((path, StoredObject(path, 0, NOT_A_FILE, 0)))
    return found


def _refused(path: str, error: OSError) -> StoredObject:
    return StoredObject(path, 0, _REASONS.get(error.errno or 0, CANNOT_OPEN), 0)
