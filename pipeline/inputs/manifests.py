"""Manifests as inputs: JSON Lines or Parquet files whose rows name recordings by `uri`.

With `bytes` and `etag` in a row no request is needed for its recording, so that a manifest can list
millions. All other fields of a row are its sidecar. Files beside a recording are not looked for.

The manifests of other tools are recognised by the fields of their first row, whatever their names are.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from pipeline.inputs.formats.lhotse import read_cuts, read_recordings, read_supervisions
from pipeline.inputs.formats.nemo import read_nemo
from pipeline.inputs.formats.tables import audio_column, read_table
from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.named_files import id_of, inline_sidecar, shown, size_and_tag
from pipeline.inputs.part import FilePart
from pipeline.inputs.row_files import SUFFIXES, FileRow, rows_of
from pipeline.storage.store import Store, split
from pipeline.storage.uri import normalize_uri
from schemas.errors import DataError, SetupError

Reader = Callable[[Store, str, Iterator[FileRow]], list[ListedRecording]]
"""(folder, name, rows) of a manifest -> its recordings."""

_REQUESTS = 32
"""Concurrent requests for the sizes of recordings that a manifest doesn't give."""

_BATCH_ROWS = 1000


_LOOKED_AT = 100
"""Rows in which the fields that tell whose manifest it is are looked for."""

_READERS: dict[str, Reader] = {
    "audio_filepath": read_nemo,
    "supervisions": read_cuts,
    "sources": read_recordings,
    "recording_id": read_supervisions,
}
"""Field by which the rows of another tool's manifest are recognised -> its reader."""


def is_manifest(name: str) -> bool:
    """Whether a file may be a manifest by its name."""
    return name.endswith((*SUFFIXES, ".json", ".jsonl.gz", ".json.gz"))


def read_manifest(uri: str) -> list[ListedRecording]:
    """The recordings that a manifest names.

    The id of a recording under the manifest's folder is its relative path, as if the folder were listed; the
    id of any other is its URI without the scheme. Raises SetupError with the line of an invalid row of our
    own manifests; invalid rows of others are set aside.
    """
    folder, name = split(uri)
    if name.endswith(".parquet") and _has_audio(folder, name):
        return read_table(folder, folder.head(name), name)
    rows = rows_of(folder, name)
    first = list(islice(rows, _LOOKED_AT))
    rows = chain(first, rows)
    if reader := _reader(first):
        return reader(folder, name, rows)
    recordings: list[ListedRecording] = []
    with ThreadPoolExecutor(_REQUESTS) as pool:
        while batch := list(islice(rows, _BATCH_ROWS)):
            recordings += pool.map(lambda row: _recording(folder, row), batch)
    return recordings


def foreign_manifests(store: Store, names: Sequence[str]) -> Iterator[tuple[str, list[ListedRecording]]]:
    """(name, recordings) of those files of a folder that are manifests of other tools by their content."""
    found = []
    for name in names:
        folder, last = split(store.join(name))
        if reader := _reader(list(islice(rows_of(folder, last), _LOOKED_AT))):
            found.append((name, folder, last, reader))
    # lhotse writes the same turns with recordings and as cuts.
    whole = {folder.uri for _, folder, _, reader in found if reader is read_recordings}
    for name, folder, last, reader in found:
        if reader not in (read_cuts, read_supervisions) or folder.uri not in whole:
            yield name, _under(name.removesuffix(last), folder, reader(folder, last, rows_of(folder, last)))
        else:
            yield name, []


def _under(above: str, folder: Store, recordings: Sequence[ListedRecording]) -> list[ListedRecording]:
    """Recordings of a manifest in a folder, with ids that begin with its path where they are in it."""

    def inside(recording: ListedRecording) -> bool:
        part = FilePart.parse(recording.uri)
        return (part.file if part else recording.uri).startswith(f"{folder.uri}/")

    return [replace(r, id=f"{shown(above)}{r.id}") if above and inside(r) else r for r in recordings]


def _reader(first: Sequence[FileRow]) -> Reader | None:
    """The reader of another tool's manifest by its first rows; None for our own, and what is none."""
    fields = {field for row in first if isinstance(row.value, dict) for field in row.value}
    if "uri" in fields:
        return None
    return next((reader for field, reader in _READERS.items() if field in fields), None)


def _has_audio(folder: Store, name: str) -> bool:
    try:
        return audio_column(folder, name) is not None
    except (pa.ArrowException, OSError):
        return False  # what is wrong with it is told when its rows are read


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
        named = f", not by {', '.join(sorted(row)[:8])}" if row else ""
        raise SetupError(
            f"every row names a recording by its `uri`{named}. Other manifests that can be read are NeMo's "
            "(`audio_filepath`) and lhotse's (`recording`, `sources`), and Parquet with a column of audio"
        )
    size, etag = fields.pop("bytes", None), fields.pop("etag", None)
    if isinstance(size, float) and size.is_integer():  # a column of Parquet that pandas wrote with nulls
        size = int(size)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise SetupError(f"`bytes` is the size of the file, a number, not {json.dumps(size, default=str)}")
    if etag is not None and not isinstance(etag, str | int):
        raise SetupError(f"`etag` is a text that changes with the file, not {json.dumps(etag, default=str)}")
    uri = normalize_uri(path) if "://" in path or path.startswith("/") else folder.join(path)
    if size is None or etag is None:
        size, etag = size_and_tag(uri)
    return ListedRecording(id_of(folder, uri), uri, size, str(etag), inline_sidecar(fields), ())
