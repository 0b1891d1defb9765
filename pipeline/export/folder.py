"""The folder that an export is written to."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.storage.store import Store
from pipeline.storage.uri import local_path, normalize_uri
from schemas.errors import SetupError


@contextmanager
def destination(uri: str) -> Iterator[Path]:
    """A new folder to write to: of a path, or the content of a prefix, which it becomes at the end.

    A prefix gets its files after all are written. Raises SetupError where there are files already, and if it
    can't be written.
    """
    whole = normalize_uri(uri)
    if whole.startswith("file://"):
        with _new_folder(local_path(whole)) as folder:
            yield folder
        return
    store = Store(whole)
    if found := next(store.list(), None):
        raise SetupError(f"{uri} has files already, such as {found.path}: name a new prefix")
    store.check_writable()
    with tempfile.TemporaryDirectory(prefix="aqaa-data-export-") as scratch:
        folder = Path(scratch)
        with _full_disk_told(folder):
            yield folder
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            store.put_new(file.relative_to(folder).as_posix(), file)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder to write to. What was written is removed again where anything fails."""
    with _full_disk_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if found := sorted(path.name for path in folder.iterdir()):
            raise SetupError(f"{folder} has files already, such as {found[0]}: name a new or an empty folder")
        try:
            yield folder
        except BaseException:
            _clear(folder)
            raise


@contextmanager
def _full_disk_told(folder: Path) -> Iterator[None]:
    """Tell what can't be written, and what to do."""
    try:
        yield
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
