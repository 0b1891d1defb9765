"""Manifests as inputs: JSON Lines or Parquet files whose rows name recordings by `uri`.

With `bytes` and `etag` in a row no request is needed for its recording, so that a manifest can list
millions. All other fields of a row are its sidecar. Files beside a recording are not looked for.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.local_files import file_at
from pipeline.inputs.row_files import FileRow, read_rows
from pipeline.inputs.small_files import INLINE
from pipeline.storage.store import Store, split
from pipeline.storage.uri import normalize_uri
from schemas.errors import DataError, SetupError
from schemas.recording import Companion

_REQUESTS = 32
"""Concurrent requests for the sizes of recordings that a manifest doesn't give."""

_BATCH_ROWS = 1000


def read_manifest(uri: str) -> list[ListedRecording]:
    """The recordings that a manifest names.

    The id of a recording under the manifest's folder is its relative path, as if the folder were listed; the
    id of any other is its URI without the scheme. Raises SetupError with the line of an invalid row.
    """
    folder = split(uri)[0]
    recordings: list[ListedRecording] = []
    with ThreadPoolExecutor(_REQUESTS) as pool:
        rows = read_rows([uri])
        while batch := list(islice(rows, _BATCH_ROWS)):
            recordings += pool.map(lambda row: _recording(folder, row), batch)
    return recordings


def _recording(folder: Store, row: FileRow) -> ListedRecording:
    try:
        return _parsed(folder, row.value)
    except (DataError, SetupError) as error:
        raise SetupError(f"manifest {row.where}: {error}") from error


def _parsed(folder: Store, row: Any) -> ListedRecording:
    if isinstance(row, DataError):
        raise row
    row = row if isinstance(row, dict) else {}
    fields = {name: value for name, value in row.items() if value is not None}
    path = fields.pop("uri", None)
    if not isinstance(path, str) or not path.strip():
        raise SetupError("every row names a recording by its `uri`")
    size, etag = fields.pop("bytes", None), fields.pop("etag", None)
    if isinstance(size, float) and size.is_integer():  # a column of Parquet that pandas wrote with nulls
        size = int(size)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise SetupError(f"`bytes` is the size of the file, a number, not {json.dumps(size, default=str)}")
    if etag is not None and not isinstance(etag, str | int):
        raise SetupError(f"`etag` is a text that changes with the file, not {json.dumps(etag, default=str)}")
    uri = normalize_uri(path) if "://" in path or path.startswith("/") else folder.join(path)
    if size is None or etag is None:
        size, etag = _size_and_tag(uri)
    sidecar = None
    if fields:
        text = json.dumps(fields, ensure_ascii=False, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        sidecar = Companion("json", INLINE + quote(text), digest)
    return ListedRecording(_id(folder, uri), uri, size, str(etag), sidecar, ())


def _id(folder: Store, uri: str) -> str:
    inside = uri.removeprefix(f"{folder.uri}/").partition("://")
    path = inside[2].lstrip("/") or inside[0]
    return unquote(path) if uri.startswith("file://") else path


def _size_and_tag(uri: str) -> tuple[int, str]:
    """Of a recording; one that doesn't exist or can't be opened is set aside when it is decoded."""
    store, name = split(uri)
    try:
        stored = file_at(store.directory, name) if store.is_local else store.head(name)
    except FileNotFoundError:
        return 0, "missing"
    return stored.bytes, stored.etag
