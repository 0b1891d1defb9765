"""The folder that an export is written to."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import SetupError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder to write to. What was written is removed again where anything fails.

    Raises SetupError where it has files, and if it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if found := sorted(path.name for path in folder.iterdir()):
            raise SetupError(f"{folder} has files already, such as {found[0]}: name a new or an empty folder")
        try:
            yield folder
        except BaseException:
            _clear(folder)
            raise
    except OSError as error:
        where = error.filename or folder
        remedy = (
            "make room there, or name a folder on another disk"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "name a folder that you may write to"
        )
        raise SetupError(f"can't write {where}: {error.strerror or error}: {remedy}") from error


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
