"""Parquet with a column of audio, as Hugging Face writes data sets: a recording per row.

The audio of a row is read when it is decoded, not when it is listed; its size in the listing is the mean of
its row group.
"""

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.formats.given import GivenRecordings, RowTurn, given_companion
from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.named_files import inline_sidecar, refused_row
from pipeline.inputs.part import PARQUET, FilePart
from pipeline.inputs.table_audio import AudioColumn
from pipeline.storage.store import Store, StoredObject
from schemas.companions import said_in

_BATCH_ROWS = 1000


def audio_column(store: Store, name: str) -> AudioColumn | None:
    """The column of audio of a Parquet file; None without one, or if our own manifests' `uri` is there.

    Raises pyarrow's errors for what is no Parquet.
    """
    with store.open(name) as file, pq.ParquetFile(file) as table:
        return None if "uri" in table.schema_arrow.names else AudioColumn.of(table.schema_arrow)


def read_table(store: Store, file: StoredObject, shown: str) -> list[ListedRecording]:
    """The recordings of a table, or the file itself as one that is set aside.

    `shown` is the path of the file, with which their ids begin. A row without audio that names a file is that
    file, relative to the table.
    """
    uri = store.join(file.path)
    folder, _, name = uri.rpartition("/")
    named = GivenRecordings(Store(folder), name)
    recordings: list[ListedRecording] = []
    try:
        with store.open(file.path) as opened, pq.ParquetFile(opened) as table:
            column = AudioColumn.of(table.schema_arrow)
            if column is None:
                return []
            first = 0
            for group in range(table.num_row_groups):
                size, holds = column.mean_bytes(table.metadata.row_group(group))
                for row, (path, fields) in enumerate(_rows(table, group, column)):
                    where = f"{shown}/{first + row:06d}"
                    text, speaker = said_in(fields)
                    turn = RowTurn(0.0, None, speaker, text) if text else None
                    if not holds:
                        named.add(where, path, turn, fields)
                        continue
                    stem = (path or "").replace("\\", "/").rpartition("/")[2]
                    id = f"{where}/{stem}" if stem else where
                    part = FilePart.of(PARQUET, uri, (group, row), (stem or f"{first + row:06d}").encode())
                    companions = (given_companion([turn.line], name),) if turn else ()
                    sidecar = inline_sidecar(fields)
                    recordings.append(ListedRecording(id, part.uri, size, file.etag, sidecar, companions))
                first += table.metadata.row_group(group).num_rows
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, PermissionError | FileNotFoundError):
            raise
        where = f"{shown}/(the rest after {len(recordings):,} recordings)" if recordings else shown
        recordings.append(refused_row(uri, where, "damaged_archive", str(error).splitlines()[0]))
    return [*recordings, *named.listed()]


def _rows(
    table: pq.ParquetFile, group: int, column: AudioColumn
) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """(path of the audio, the other fields) of each row of a group, without what is no value or text."""
    names = [
        field.name for field in table.schema_arrow if _is_value(field.type) and field.name != column.name
    ]
    wanted = [*names, *([column.path] if column.path else [])]
    if not wanted:
        yield from ((None, {}) for _ in range(table.metadata.row_group(group).num_rows))
        return
    for batch in table.iter_batches(_BATCH_ROWS, row_groups=[group], columns=wanted):
        for row in batch.to_pylist():
            audio = row.pop(column.name, None) if column.path else None
            path = audio.get("path") if isinstance(audio, dict) else None
            yield path, {name: value for name, value in row.items() if not _is_nothing(value)}


def _is_value(type: pa.DataType) -> bool:
    """Not lists, such as codes and embeddings, and not bytes."""
    if pa.types.is_struct(type):
        return all(_is_value(type.field(i).type) for i in range(type.num_fields))
    if pa.types.is_dictionary(type):
        return _is_value(type.value_type)
    return not (
        pa.types.is_nested(type)
        or pa.types.is_binary(type)
        or pa.types.is_large_binary(type)
        or pa.types.is_fixed_size_binary(type)
    )


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
