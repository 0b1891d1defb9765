"""Object storage behind URIs: `file:///..` (or a plain path), `s3://..`, `gs://..`.

One `Store` is one root. Every write is atomic, and `put_new` is create-only: of several writers one
wins, and the others are told. obstore does the work; on S3 boto3's credential chain opens the door.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store, from_url

from schemas.errors import SetupError

_CHUNK = 8 * 1024 * 1024


@dataclass(frozen=True)
class Object:
    """A stored object: path relative to the store's root, size, and a tag that changes with its content."""

    path: str
    bytes: int
    etag: str


class Store:
    """A root in object storage, or a directory. Holds no open connection that couldn't be pickled."""

    def __init__(self, uri: str) -> None:
        self.uri = normal(uri)
        self._store: Any = None

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.uri,)

    @property
    def is_local(self) -> bool:
        return self.uri.startswith("file://")

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
        if self.uri.startswith("s3://"):
            from boto3 import Session
            from obstore.auth.boto3 import Boto3CredentialProvider

            session = Session()
            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
            if endpoint and endpoint.startswith("http://"):
                options["client_options"] = {"allow_http": True}
            if session.get_credentials() is None:
                options["skip_signature"] = True
            else:
                options["credential_provider"] = Boto3CredentialProvider(session)
            region = session.region_name or "us-east-1"
            return S3Store.from_url(self.uri, region=region, **options)
        return from_url(self.uri)

    def get(self, path: str) -> bytes:
        """The bytes of an object. Raises FileNotFoundError where there is none."""
        with _explained(self.join(path)):
            return bytes(obstore.get(self._obstore, path).bytes())

    def exists(self, path: str) -> bool:
        with _explained(self.join(path)):
            try:
                obstore.head(self._obstore, path)
            except FileNotFoundError:
                return False
            return True

    def put_new(self, path: str, data: bytes | Path) -> bool:
        """Write an object that must not exist yet; False when somebody else was first."""
        with _explained(self.join(path)):
            if self.is_local:
                self.directory.mkdir(parents=True, exist_ok=True)
            try:
                obstore.put(self._obstore, path, data, mode="create")
            except AlreadyExistsError:
                return False
            return True

    def copy_new(self, source: str, target: str) -> bool:
        """Copy inside the store, without moving bytes through here (a hard link on local disks)."""
        with _explained(self.join(target)):
            try:
                obstore.copy(self._obstore, source, target, overwrite=not self.is_local)
            except AlreadyExistsError:
                return False
            return True

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the folders directly under a prefix, without a walk through what they hold."""
        if self.is_local and not (self.directory / prefix).is_dir():
            return []
        with _explained(self.join(prefix)):
            found = obstore.list_with_delimiter(self._obstore, prefix or None)["common_prefixes"]
            return sorted(path.rstrip("/").rpartition("/")[2] for path in found)

    def list(self, prefix: str = "") -> Iterator[Object]:
        """Objects under a prefix, in the store's order, page by page."""
        if self.is_local and not (self.directory / prefix).is_dir():
            return
        with _explained(self.join(prefix)):
            for page in obstore.list(self._obstore, prefix or None, chunk_size=1000):
                for meta in page:
                    yield Object(meta["path"], meta["size"], self._etag(meta))

    def _etag(self, meta: Any) -> str:
        if self.is_local:  # an inode number would change with every copy of the same file
            return f"{int(meta['last_modified'].timestamp() * 1e6):x}-{meta['size']:x}"
        return str(meta.get("e_tag") or meta["last_modified"].isoformat()).strip('"')

    def head(self, path: str) -> Object:
        """Size and tag of one object. Raises FileNotFoundError."""
        with _explained(self.join(path)):
            meta = obstore.head(self._obstore, path)
            return Object(meta["path"], meta["size"], self._etag(meta))

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """The object as a file on this machine while the context is open: itself, or a copy."""
        if self.is_local:
            yield self.directory / path
            return
        with tempfile.TemporaryDirectory(prefix="aqaa-data-") as folder:
            target = Path(folder) / Path(path).name
            with _explained(self.join(path)), target.open("wb") as out:
                for chunk in obstore.get(self._obstore, path).stream(min_chunk_size=_CHUNK):
                    out.write(chunk)
            yield target

    def join(self, path: str) -> str:
        """The URI of an object."""
        return f"{self.uri.rstrip('/')}/{quote(path) if self.is_local else path}"

    def check_writable(self) -> None:
        """Raise SetupError where this process can't write here, before any work is done."""
        probe = f".probe-{os.getpid()}-{os.urandom(4).hex()}"
        self.put_new(probe, b"")
        with _explained(self.uri):
            obstore.delete(self._obstore, probe)
        if self.is_local and shutil.disk_usage(self.directory).free < 64 * 1024 * 1024:
            raise SetupError(f"less than 64 MB are free on the disk of {self.directory}: make room there")


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Storage trouble in words of the user, without the library's debug listing."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        if "No space left" in str(error):
            raise SetupError(f"no space left on the disk of {uri}: make room and run again") from error
        reason = str(error).split("\n", 1)[0][:300]
        raise SetupError(f"can't use {uri}: {reason}") from error


def normal(uri: str) -> str:
    """A URI with a scheme, without a trailing slash; a plain path becomes an absolute `file://` URI."""
    if "://" not in uri:
        uri = Path(uri).expanduser().resolve().as_uri()
    parts = urlsplit(uri)
    if parts.scheme not in ("file", "s3", "gs"):
        raise SetupError(f"can't read {uri}: storage is a path, file://, s3:// or gs://")
    return uri.rstrip("/")


def local_path(uri: str) -> Path:
    """The path of a `file://` URI."""
    return Path(unquote(urlsplit(uri).path))


def split(uri: str) -> tuple[Store, str]:
    """The store of the folder that holds an object, and the object's name in it."""
    parent, _, name = normal(uri).rpartition("/")
    return Store(parent), unquote(name) if parent.startswith("file://") else name
