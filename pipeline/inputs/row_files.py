"""Rows of JSON lines and Parquet files, each with the place that it comes from."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pipeline.storage.store import Store, split
from schemas.errors import DataError, SetupError

SUFFIXES = (".jsonl", ".parquet")
_AT_ONCE = 1000


class FileRow(NamedTuple):
    where: str
    """`chats.jsonl:17` (line) or `chats.parquet:17` (row), both from 1."""
    value: Any
    """The row, or the DataError `bad_json` of a line that can't be read."""


def read_rows(uris: Sequence[str]) -> Iterator[FileRow]:
    """Every row of some files, or of all `.jsonl` and `.parquet` files under directories and prefixes.

    One line or a thousand Parquet rows are held at a time. Raises SetupError for a file that isn't there or
    is no Parquet.
    """
    for uri in uris:
        for store, name in list_row_files(uri):
            with store.local(name) as path:
                yield from _parquet(path, name) if name.endswith(".parquet") else _lines(path, name)


def list_row_files(uri: str) -> Iterator[tuple[Store, str]]:
    """(store, path in it) of a file, or of those under a prefix. Raises SetupError where there is none."""
    store, name = split(uri)
    if name.endswith(SUFFIXES):
        if not store.exists(name):
            raise SetupError(f"there is no file {uri}")
        yield store, name
        return
    store = Store(uri)
    names = sorted(found.path for found in store.list() if found.path.endswith(SUFFIXES))
    if not names:
        raise SetupError(f"{uri}: name a .jsonl or .parquet file, or a folder that holds some")
    yield from ((store, name) for name in names)


def _lines(path: Any, name: str) -> Iterator[FileRow]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{name}:{number}"
            try:
                yield FileRow(where, json.loads(line))
            except ValueError as error:
                yield FileRow(where, DataError("bad_json", f"the line is no JSON: {error}"))


def _parquet(path: Any, name: str) -> Iterator[FileRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(_AT_ONCE):
            for value in batch.to_pylist():
                number += 1
                yield FileRow(f"{name}:{number}", value)
    except (pa.ArrowException, OSError) as error:
        raise SetupError(f"{name}: no readable Parquet file: {str(error).splitlines()[0]}") from error
