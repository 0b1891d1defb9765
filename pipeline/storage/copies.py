"""Copies of folders of buckets on the disk of a node."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.storage.store import Store
from schemas.errors import SetupError

_CHUNK_BYTES = 8 * 1024 * 1024
_CONCURRENT = 8


@dataclass(frozen=True)
class Copies:
    """Copies below a folder. Of the processes of a node that ask for one, one downloads it, and again once
    the bucket has something else there."""

    folder: Path

    def path(self, uri: str) -> Path:
        """Where the copy is, or would be."""
        return self.folder / f"{uri.rpartition('/')[2]}-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"

    def get(self, uri: str) -> Path:
        """The copy of everything below a URI. Raises SetupError if it can't be made, or nothing is there."""
        copy, store = self.path(uri), Store(uri)
        with self._changing(copy) as record:
            listed = _listed(store)
            if listed == "[]":
                raise SetupError(f"there is nothing at {uri}")
            if not copy.exists() or not record.exists() or record.read_text() != listed:
                partial = copy.with_name(f".{copy.name}.partial")
                for old in (partial, copy):
                    shutil.rmtree(old, ignore_errors=True)
                _download(store, partial)
                partial.rename(copy)
                record.write_text(listed)
        return copy

    def keep(self, uri: str, uploaded: Path) -> Path:
        """Make a folder that was just uploaded the copy of its URI."""
        copy = self.path(uri)
        with self._changing(copy) as record:
            shutil.rmtree(copy, ignore_errors=True)
            uploaded.rename(copy)
            record.write_text(_listed(Store(uri)))
        return copy

    @contextmanager
    def _changing(self, copy: Path) -> Iterator[Path]:
        """Keeps other processes from a copy. Yields the file that records what it is a copy of."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with copy.with_name(f".{copy.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield copy.with_name(f".{copy.name}.json")


def fetch(store: Store, path: str, target: Path) -> None:
    """Download an object. Raises SetupError for a disk that can't take it, FileNotFoundError for an object
    that is not there, even if only since the download began."""
    with store.open(path, _CHUNK_BYTES) as content:
        with _full_disk_told(store.join(path), target):
            target.parent.mkdir(parents=True, exist_ok=True)
            out = target.open("wb")
        try:
            while chunk := content.read(_CHUNK_BYTES):
                with _full_disk_told(store.join(path), target):
                    out.write(chunk)
        finally:
            with _full_disk_told(store.join(path), target):
                out.close()


@contextmanager
def _full_disk_told(source: str, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"can't copy {source} to {target}: {error.strerror or error}: make room there, or "
            "have copies on another disk (`scratch` of a recipe, AQAA_DATA_CACHE)"
        ) from error


def _listed(store: Store) -> str:
    """What is there, in a form that is another once anything is replaced."""
    return json.dumps([[item.path, item.bytes, item.etag] for item in store.list()])


def _download(store: Store, folder: Path) -> None:
    folder.mkdir()
    with ThreadPoolExecutor(_CONCURRENT) as pool:
        list(pool.map(lambda item: fetch(store, item.path, folder / item.path), store.list()))
