"""Object storage behind URIs: `file:///..` (or a plain path), `s3://..`, `gs://..`, and `hf://..` to read.

A `Store` is one root. Every write is atomic, and `put_new` is create-only: of several writers one wins, and
the others get False. It is a thin layer over obstore, with credentials from boto3's chain on S3.
"""

import io
import os
import random
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from urllib.parse import quote

import obstore
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import LocalStore

from pipeline.storage.connections import connection_lost, explain_errors, open_connection, s3_client
from pipeline.storage.hub import SCHEME as HUB
from pipeline.storage.hub import Hub, HubFile
from pipeline.storage.range_file import RangeFile
from pipeline.storage.uri import file_name, local_path, normalize_uri, uri_parts
from pipeline.storage.written_object import WrittenObject
from schemas.errors import SetupError

_CHUNK = 8 * 1024 * 1024
_HEADER = 64 * 1024
_ONE_REQUEST = 1024**3
"""Size from which a file is uploaded in parts; a single request can hold 5 GB."""
_PART = 64 * 1024 * 1024
"""Size of a part; an object has at most 10,000 parts."""

_DELETE_BATCH = 1000
_DELETE_REQUESTS = 16
"""Concurrent requests, when objects of a batch are deleted one by one."""

_WAITS = (0.2, 0.6, 2.0, 5.0)
"""Seconds before each retry of a request that obstore doesn't retry itself after a lost connection."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A stored object: path relative to the store's root, size, and a tag that changes with its content."""

    path: str
    bytes: int
    etag: str
    modified: float
    """Seconds since the epoch."""


def local_object(path: str, found: os.stat_result) -> StoredObject:
    """A local file. The tag is not its inode number, which changes with every copy of a file."""
    modified = datetime.fromtimestamp(found.st_mtime_ns // 1000 / 1e6, UTC)
    return StoredObject(path, found.st_size, _tag(modified, found.st_size), modified.timestamp())


def _tag(modified: datetime, size: int) -> str:
    return f"{int(modified.timestamp() * 1e6):x}-{size:x}"


def _hub_object(file: HubFile) -> StoredObject:
    return StoredObject(file.path, file.bytes, file.tag, 0.0)


_NO_PATH = re.compile(r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f]")


def can_request(key: str) -> bool:
    """Whether a key can be requested: obstore refuses control characters, and empty and dotted parts."""
    return not _NO_PATH.search(key)


class Store:
    """A root in object storage, or a directory. It can be pickled: connections are opened on first use."""

    def __init__(self, uri: str) -> None:
        self.uri = normalize_uri(uri)
        self._store: Any = None

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.uri,)

    @property
    def is_local(self) -> bool:
        return self.uri.startswith("file://")

    @property
    def _hub(self) -> Hub | None:
        return Hub(self.uri) if self.uri.startswith(f"{HUB}://") else None

    @property
    def directory(self) -> Path:
        """The root of a local store."""
        return local_path(self.uri)

    @property
    def _obstore(self) -> Any:
        if self._store is None:
            self._store = self._open()
        return self._store

    def _open(self) -> Any:
        if self.is_local:
            if not self.directory.is_dir():
                raise FileNotFoundError(self.uri)
            return LocalStore(self.directory)
        return open_connection(self.uri, _environment())

    def get(self, path: str) -> bytes:
        """The bytes of an object. Raises FileNotFoundError."""
        return self._retry(path, lambda: bytes(obstore.get(self._obstore, path).bytes()))

    def exists(self, path: str) -> bool:
        try:
            self.head(path)
        except FileNotFoundError:
            return False
        return True

    def put_new(self, path: str, data: bytes | Path) -> bool:
        """Write an object that must not exist yet; False if another writer was first.

        In object stores, concurrent writers of a file of over 1 GB to the same path must write the same
        bytes. The write is atomic there too.
        """
        self._check_written()
        if isinstance(data, Path) and not self.is_local and data.stat().st_size > _ONE_REQUEST:
            return self._put_parts(path, data)
        answer_lost = False

        def put() -> bool:
            nonlocal answer_lost
            if self.is_local:
                self.directory.mkdir(parents=True, exist_ok=True)
            try:
                obstore.put(self._obstore, path, data, mode="create")
            except AlreadyExistsError:
                # If the answer to an earlier try was lost, the object may be our own.
                content = data if isinstance(data, bytes) or not answer_lost else data.read_bytes()
                return answer_lost and bytes(obstore.get(self._obstore, path).bytes()) == content
            except GenericError:
                answer_lost = True
                raise
            return True

        return self._retry(path, put)

    def _put_parts(self, path: str, file: Path) -> bool:
        if self.exists(path):
            return False
        upload = partial(obstore.put, self._obstore, path, file, use_multipart=True, chunk_size=_PART)
        self._retry(path, upload)
        return True

    def put(self, path: str, data: bytes | Path) -> None:
        """Write an object, replacing an existing one."""
        self._check_written()
        if self.is_local:
            self.directory.mkdir(parents=True, exist_ok=True)
        self._retry(path, lambda: obstore.put(self._obstore, path, data, mode="overwrite", chunk_size=_PART))

    @contextmanager
    def create(self, path: str) -> Iterator[IO[bytes]]:
        """An object to write to, replacing an existing one: it is there once the context is closed, and not
        at all after an error. A part of it at a time is in memory."""
        self._check_written()
        if self.is_local:
            self.directory.mkdir(parents=True, exist_ok=True)
        with (
            explain_errors(self.join(path)),
            obstore.open_writer(self._obstore, path, buffer_size=_PART, max_concurrency=4) as writer,
        ):
            yield cast(IO[bytes], WrittenObject(writer))

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; a missing one is ignored. Raises SetupError, after the others were deleted."""
        errors: list[SetupError] = []
        for start in range(0, len(paths), _DELETE_BATCH):
            batch = paths[start : start + _DELETE_BATCH]
            try:
                self._retry("", partial(obstore.delete, self._obstore, list(batch)))
            except (FileNotFoundError, SetupError):
                # The first error ends the batch and hides what happened to the rest: delete one by one.
                failed = self._delete_each(batch)
                errors += failed
                if len(failed) == len(batch):
                    break
        if errors:
            more = f" (and {len(errors) - 1:,} more objects)" if len(errors) > 1 else ""
            raise type(errors[0])(f"can't delete: {errors[0]}{more}") from errors[0]

    def _delete_each(self, paths: Sequence[str]) -> list[SetupError]:
        """Delete objects independently; the errors of those that couldn't be deleted."""

        def delete(path: str) -> SetupError | None:
            try:
                self._retry(path, partial(obstore.delete, self._obstore, path))
            except FileNotFoundError:
                pass
            except SetupError as error:
                return error
            return None

        with ThreadPoolExecutor(_DELETE_REQUESTS) as pool:
            return [error for error in pool.map(delete, paths) if error]

    def copy_new(self, source: str, target: str) -> bool:
        """Copy inside the store, without transferring the bytes (a hard link on local disks).

        In object stores, concurrent copies to the same target must have the same bytes. False if the target
        exists.
        """
        if not self.is_local and self.exists(target):
            return False

        def copy() -> bool:
            try:
                obstore.copy(self._obstore, source, target, overwrite=not self.is_local)
            except AlreadyExistsError:
                return False
            return True

        return self._retry(target, copy)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the folders directly under a prefix, without listing their contents."""
        if self.is_local and not (self.directory / prefix).is_dir():
            return []
        listed = self._listed(prefix)
        return sorted(path.rstrip("/").rpartition("/")[2] for path in listed["common_prefixes"])

    def files(self, prefix: str = "") -> Sequence[StoredObject]:
        """The objects directly under a prefix, without those in its folders."""
        if self.is_local and not (self.directory / prefix).is_dir():
            return []
        return [self._object(meta) for meta in self._listed(prefix)["objects"]]

    def _listed(self, prefix: str) -> Any:
        return self._retry(prefix, lambda: obstore.list_with_delimiter(self._obstore, prefix or None))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Objects under a prefix, in the store's order, page by page."""
        if self.is_local and not (self.directory / prefix).is_dir():
            return
        if self._hub:
            yield from map(_hub_object, self._hub.list(prefix))
            return
        last: str | None = None
        pages: Any = None

        def page() -> Any:
            nonlocal pages
            if pages is None:
                pages = obstore.list(self._obstore, prefix or None, offset=last, chunk_size=1000)
            try:
                return next(pages, None)
            except BaseException:
                pages = None
                raise

        try:
            while metas := self._retry(prefix, page):
                for meta in metas:
                    yield self._object(meta)
                last = metas[-1]["path"]
        except SetupError as error:
            if "invalid path" not in str(error) or not self.uri.startswith("s3://"):
                raise
            yield from self._list_any_key(prefix, last)

    def _list_any_key(self, prefix: str, after: str | None) -> Iterator[StoredObject]:
        """`list` after an object, for buckets with keys that obstore refuses to list."""
        _, bucket, root = uri_parts(self.uri)
        folder = f"{root}/" if root else ""
        first = f"{folder}{prefix}/" if prefix else folder
        pages = (
            s3_client(_environment())
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=first, StartAfter=f"{folder}{after}" if after else "")
        )
        for page in pages:
            for item in page.get("Contents", ()):
                # As obstore, which leaves out the slash at the end of a folder's marker.
                path = item["Key"].removeprefix(folder).removesuffix("/")
                if path:
                    tag = item["ETag"].strip('"')
                    yield StoredObject(path, item["Size"], tag, item["LastModified"].timestamp())

    def _object(self, meta: Any) -> StoredObject:
        modified = meta["last_modified"]
        if self.is_local:
            return StoredObject(
                meta["path"], meta["size"], _tag(modified, meta["size"]), modified.timestamp()
            )
        tag = str(meta.get("e_tag") or modified.isoformat()).strip('"')
        return StoredObject(meta["path"], meta["size"], tag, modified.timestamp())

    def head(self, path: str) -> StoredObject:
        """The size and tag of one object. Raises FileNotFoundError."""
        if self.is_local:
            with explain_errors(self.join(path)):
                found = self._inside(path).stat()
                if not stat.S_ISREG(found.st_mode):
                    raise FileNotFoundError(self.join(path))
                return local_object(path, found)
        if self._hub:
            return _hub_object(self._hub.head(path))
        meta = self._retry(path, lambda: obstore.head(self._obstore, path))
        return self._object(meta)

    def open(self, path: str, at_once: int = _HEADER) -> IO[bytes]:
        """An object as a seekable file; of a remote object only the ranges that are read are downloaded, with
        at least `at_once` bytes in a request."""
        if self.is_local:
            return self._inside(path).open("rb")
        return io.BufferedReader(RangeFile(self.head(path).bytes, partial(self.read, path)), at_once)

    def read(self, path: str, start: int, end: int) -> bytes:
        """The bytes [start, end) of an object; fewer at its end."""
        if start >= end:
            return b""
        if self.is_local:
            with explain_errors(self.join(path)), self.open(path) as file:
                file.seek(start)
                return file.read(end - start)
        return self._retry(path, lambda: bytes(obstore.get_range(self._obstore, path, start=start, end=end)))

    @contextmanager
    def local(self, path: str, folder: Path | None = None) -> Iterator[Path]:
        """The object as a local file while the context is open: itself, or a copy in `folder`."""
        if self.is_local:
            yield self._inside(path)
            return
        with tempfile.TemporaryDirectory(prefix="aqaa-data-", dir=folder) as copies:
            # A key may be longer than the name of a file; its extension is at the end.
            target = Path(copies) / (Path(path).name[-50:] or "object")
            with explain_errors(self.join(path)), target.open("wb") as out:
                for chunk in obstore.get(self._obstore, path).stream(min_chunk_size=_CHUNK):
                    with _explain_full_disk(copies):
                        out.write(chunk)
            yield target

    def _inside(self, path: str) -> Path:
        """The file of a path, which may come from an untrusted manifest: never one outside the root."""
        if ".." in path.split("/") or path.startswith("/"):
            raise SetupError(f"{path!r} is outside {self.uri}: it is not read")
        return self.directory / path

    def _retry(self, path: str, request: Callable[[], Result]) -> Result:
        """The result of a request, retried after a lost connection; errors are explained to the user."""
        with explain_errors(self.join(path)):
            for wait in _WAITS:
                try:
                    return request()
                except ValueError as error:
                    if "Could not parse path" not in str(error):
                        raise
                    # An invalid name, with `..` or an empty part: no such object exists.
                    raise FileNotFoundError(self.join(path)) from error
                except GenericError as error:
                    if not connection_lost(error):
                        raise
                time.sleep(wait * random.uniform(0.5, 1.5))
            return request()

    def join(self, path: str) -> str:
        """The URI of an object."""
        return f"{self.uri.removesuffix('/')}/{quote(os.fsencode(path)) if self.is_local else path}"

    def _check_written(self) -> None:
        if self._hub:
            raise SetupError(f"can't write to {self.uri}: hf:// is only read: name a directory or a bucket")

    def check_writable(self) -> None:
        """Raise SetupError if this process can't write to the store, before any work is done."""
        probe = f".probe-{os.getpid()}-{os.urandom(4).hex()}"
        self.put_new(probe, b"")
        self.delete([probe])
        if self.is_local and shutil.disk_usage(self.directory).free < 64 * 1024 * 1024:
            raise SetupError(f"less than 64 MB are free on the disk of {self.directory}: make room there")


@contextmanager
def _explain_full_disk(folder: str) -> Iterator[None]:
    """Name the local disk that is full, which is not the store's."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"can't write to {folder}: {error.strerror}: free some space, or set `scratch` to another disk"
        ) from error


def _environment() -> tuple[tuple[str, str], ...]:
    """The environment that decides how to connect."""
    return tuple(item for item in sorted(os.environ.items()) if item[0].startswith(("AWS_", "HF_")))


def split(uri: str) -> tuple[Store, str]:
    """The store of the folder of an object, and the object's name in it."""
    parent, _, name = normalize_uri(uri).rpartition("/")
    return Store(parent), file_name(name) if parent.startswith("file://") else name
