"""Manifests as inputs: JSON lines or Parquet files whose rows name recordings by `uri`.

`bytes` and `etag` of a row stand for a look at the recording, so that a million need no request; all else
in a row is what a sidecar would say. What lies beside a recording is not looked for.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.row_files import FileRow, read_rows
from pipeline.storage.store import Store, split
from pipeline.storage.uri import normal
from schemas.errors import DataError, SetupError
from schemas.recording import Companion

INLINE = "data:application/json,"
"""How the URI of a sidecar begins that stands in a manifest itself."""

_REQUESTS = 32
"""Beside each other, to learn the size of recordings that a manifest doesn't tell."""


def read_manifest(uri: str) -> list[ListedRecording]:
    """The recordings that a manifest names.

    The id of one under the manifest's own folder is its path there, as if the folder were listed; of another,
    its URI without the scheme. Raises SetupError with the line of a row that can't be used.
    """
    folder = split(uri)[0]
    recordings: list[ListedRecording] = []
    with ThreadPoolExecutor(_REQUESTS) as pool:
        every = read_rows([uri])
        while some := list(islice(every, 1000)):
            recordings += pool.map(lambda row: _input(folder, row), some)
    return recordings


def _input(folder: Store, row: FileRow) -> ListedRecording:
    if isinstance(row.value, DataError):
        raise SetupError(f"manifest {row.where}: {row.value}")
    if not isinstance(row.value, dict) or not isinstance(row.value.get("uri"), str):
        raise SetupError(f"manifest {row.where}: every row names a recording by its `uri`")
    said: dict[str, Any] = {name: value for name, value in row.value.items() if value is not None}
    named = said.pop("uri")
    uri = normal(named) if "://" in named or named.startswith("/") else folder.join(named)
    size, etag = said.pop("bytes", None), said.pop("etag", None)
    if size is None or etag is None:
        size, etag = _seen(uri)
    sidecar = None
    if said:
        text = json.dumps(said, ensure_ascii=False, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        sidecar = Companion("json", INLINE + quote(text), digest)
    return ListedRecording(_id(folder, uri), uri, int(size), str(etag), sidecar, ())


def _id(folder: Store, uri: str) -> str:
    inside = uri.removeprefix(f"{folder.uri}/").partition("://")
    path = inside[2].lstrip("/") or inside[0]
    return unquote(path) if uri.startswith("file://") else path


def _seen(uri: str) -> tuple[int, str]:
    """Size and tag of a recording; one that isn't there is set aside when its turn comes."""
    store, name = split(uri)
    try:
        found = store.head(name)
    except FileNotFoundError:
        return 0, "missing"
    return found.bytes, found.etag
