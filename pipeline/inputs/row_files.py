"""Rows of JSON Lines and Parquet files, each with its file and line."""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from pipeline.inputs.local_files import file_at, walk
from pipeline.inputs.refusals import REFUSALS
from pipeline.storage.store import Store, StoredObject, split
from schemas.errors import DataError, SetupError

SUFFIXES = (".jsonl", ".parquet")
_BATCH_ROWS = 1000
LONGEST = 64_000_000
"""Maximum bytes of a line, which may be compressed a thousandfold."""


class FileRow(NamedTuple):
    where: str
    """`chats.jsonl:17` (line) or `chats.parquet:17` (row), both counted from 1."""
    value: Any
    """The row, or the DataError `bad_json` of a line that can't be parsed."""


def read_rows(uris: Sequence[str]) -> Iterator[FileRow]:
    """Every row of some files, or of all `.jsonl` and `.parquet` files under directories and prefixes.

    A file that can't be opened is a row that can't be used.
    Keeps one line or a thousand Parquet rows in memory. Raises SetupError for a file that doesn't exist or is
    not valid Parquet.
    """
    for uri in uris:
        for store, name in list_row_files(uri):
            yield from rows_of(store, name)


def rows_of(store: Store, name: str) -> Iterator[FileRow]:
    """Every row of a file of any name, as `read_rows`; JSON Lines may be compressed by gzip."""
    try:
        found = row_file(store, name)
    except FileNotFoundError:
        raise SetupError(f"no such file: {store.join(name)}") from None
    if refusal := REFUSALS.get(found.etag):
        yield FileRow(f"{name}:1", DataError(*refusal))
        return
    with store.local(name) as path:
        yield from _parquet(path, name) if name.endswith(".parquet") else _lines(path, name)


def list_row_files(uri: str) -> Iterator[tuple[Store, str]]:
    """(store, path in it) of a file, or of each file under a prefix. Raises SetupError if there is none."""
    store, name = split(uri)
    if name.endswith(SUFFIXES):
        try:
            row_file(store, name)
        except FileNotFoundError:
            raise SetupError(f"no such file: {uri}") from None
        yield store, name
        return
    store = Store(uri)
    if store.is_local and not store.directory.exists():
        raise SetupError(f"no such file or folder: {uri}")
    listed = walk(store.directory) if store.is_local and store.directory.is_dir() else store.list()
    names = sorted(stored.path for stored in listed if _is_row_file(stored.path))
    if not names:
        raise SetupError(f"{uri}: name a .jsonl or .parquet file, or a folder that holds some")
    yield from ((store, name) for name in names)


def row_file(store: Store, name: str) -> StoredObject:
    """A file of rows; one that can't be opened has a tag of `REFUSALS`. Raises FileNotFoundError."""
    return file_at(store.directory, name) if store.is_local else store.head(name)


def _is_row_file(path: str) -> bool:
    """Not hidden files, such as `._chats.jsonl` of a Mac or `.ipynb_checkpoints/`."""
    return path.endswith(SUFFIXES) and not path.startswith(".") and "/." not in path


def _lines(path: Path, name: str) -> Iterator[FileRow]:
    with path.open("rb") as plain, _inflated(plain) as file:
        for number, line in enumerate(_each_line(file, name), 1):
            if not line.strip():
                continue
            where = f"{name}:{number}"
            try:
                yield FileRow(where, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield FileRow(where, DataError("bad_json", f"the line is not valid JSON: {error}"))


def _inflated(file: IO[bytes]) -> IO[bytes]:
    """The file itself, or what gzip has compressed in it."""
    magic = file.read(2)
    file.seek(0)
    return cast(IO[bytes], gzip.GzipFile(fileobj=file)) if magic == b"\x1f\x8b" else file


def _each_line(file: IO[bytes], name: str) -> Iterator[bytes]:
    """The lines of a file; after one that is too long or can't be inflated, none. Both are bad rows."""
    while True:
        try:
            line = file.readline(LONGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            if not isinstance(file, gzip.GzipFile):
                raise
            yield f"(the rest of {name} can't be inflated: {error})".encode()
            return
        if not line:
            return
        yield line if len(line) <= LONGEST else b"(the line is too long)"
        if len(line) > LONGEST:
            return


def _parquet(path: Path, name: str) -> Iterator[FileRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(_BATCH_ROWS):
            for value in batch.to_pylist():
                number += 1
                yield FileRow(f"{name}:{number}", value)
    except (pa.ArrowException, OSError) as error:
        raise SetupError(f"{name} is not a valid Parquet file: {str(error).splitlines()[0]}") from error
