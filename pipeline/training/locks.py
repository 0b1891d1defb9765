"""Locks on folders of trainings, which nothing has to remove after a process that was killed."""

import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pipeline.training.launch import is_first
from schemas.errors import SetupError

_LOCK = ".lock"
_NEW_SECONDS = 60.0
"""After which a process has locked its temporary folder."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a directory while the context is open, but on file systems without locks.
    Of the processes of a training, the first does. Raises SetupError if another one trains there."""
    if not is_first():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"another process trains in {folder}: wait until it has ended, or give this training another "
                "`name`"
            ) from None
        except OSError:  # the file system has no locks
            pass
        yield


def locked_folder(parent: Path, prefix: str) -> tuple[Path, IO[str]]:
    """A new temporary folder, and its lock, to be kept open as long as the folder is used. Folders of the
    prefix that killed processes of this machine left are removed."""
    _remove_abandoned(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = (folder / _LOCK).open("w")
    with suppress(OSError):  # a file system without locks
        fcntl.flock(lock, fcntl.LOCK_EX)
    lock.write(socket.gethostname())
    lock.flush()
    return folder, lock


def _remove_abandoned(parent: Path, prefix: str) -> None:
    """Of this machine alone: on a volume of several machines, locks of another may not be seen."""
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError), (folder / _LOCK).open("r+") as lock:  # NFS locks only what can be written
            is_new = time.time() - os.fstat(lock.fileno()).st_mtime < _NEW_SECONDS
            if is_new or lock.read() != socket.gethostname():
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
