"""Files that a manifest names: their URIs, ids, sizes and tags."""

import hashlib
import json
import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.local_files import file_at
from pipeline.inputs.refusals import refused
from pipeline.inputs.small_files import INLINE
from pipeline.storage.store import Store, split
from pipeline.storage.uri import normalize_uri, uri_parts
from schemas.errors import DataError
from schemas.recording import Companion


def named_uri(folder: Store, path: str) -> str:
    """The URI of a file that a manifest in `folder` names by a URI, an absolute or a relative path.

    Raises SetupError for a storage that can't be read, DataError for a path above the bucket.
    """
    if "://" in path or path.startswith(("/", "~")):
        return normalize_uri(path)
    path = posixpath.normpath(path)
    if not path.startswith("../"):
        return folder.join(path)
    if folder.is_local:
        return normalize_uri(str(folder.directory / path))
    scheme, bucket, prefix = uri_parts(folder.uri)
    key = posixpath.normpath(f"{prefix}/{path}")
    if key.startswith(".."):
        raise DataError("leads_out", f"{path} leads out of the bucket")
    return f"{scheme}://{bucket}/{key}"


def from_working_directory(path: str) -> str:
    """The absolute path of a file that is there relative to the working directory; else the path as it is.

    Kaldi and lhotse take relative paths so, but elsewhere only the folder of their files is known.
    """
    if "://" in path or path.startswith(("/", "~")):
        return path
    here = Path(path)
    return str(here.absolute()) if here.is_file() else path


def shown(path: str) -> str:
    """A path with bytes that aren't UTF-8 as `\\xe9`, so that it can be written and hashed."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def id_of(folder: Store, uri: str) -> str:
    """A recording's path under the manifest's folder; elsewhere, its URI without the scheme."""
    inside = uri.removeprefix(f"{folder.uri}/").partition("://")
    path = inside[2].lstrip("/") or inside[0]
    return unquote(path) if uri.startswith("file://") else path


def size_and_tag(uri: str) -> tuple[int, str]:
    """Of a recording; one that doesn't exist or can't be opened is set aside when it is decoded."""
    store, name = split(uri)
    try:
        stored = file_at(store.directory, name) if store.is_local else store.head(name)
    except FileNotFoundError:
        return 0, "missing"
    return stored.bytes, stored.etag


def inline_sidecar(fields: Mapping[str, Any]) -> Companion | None:
    """The other fields of a row as the sidecar of its recording; None without any."""
    if not fields:
        return None
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True, default=str)
    return Companion("json", INLINE + quote(text), hashlib.sha256(text.encode()).hexdigest()[:16])


def refused_row(uri: str, where: str, code: str, message: str) -> ListedRecording:
    """A row or a member that can't be used, to be set aside by name; `where` says which it is."""
    return ListedRecording(where, f"{uri}#{quote(where)}", 0, refused(code, message), None, ())
