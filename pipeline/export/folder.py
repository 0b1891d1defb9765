"""The folder that an export is written to."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import SetupError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder to write to. Raises SetupError where it has files, and if it can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if found := sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")):
            raise SetupError(f"{folder} has files already, such as {found[0]}: name a new or an empty folder")
        yield folder
    except OSError as error:
        where = error.filename or folder
        remedy = (
            "make room there, or name a folder on another disk"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "name a folder that you may write to"
        )
        raise SetupError(f"can't write {where}: {error.strerror}: {remedy}") from error
