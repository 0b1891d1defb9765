"""Audio in cells of Parquet files, read a row group at a time and only the column of audio."""

from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.part import Part
from pipeline.storage.store import split
from schemas.errors import DataError

KEPT = 256_000_000
"""Bytes of audio of a row group up to which it is kept for the next rows."""

BYTES = "bytes"
"""Field of a column of Hugging Face that holds the file."""


def audio_columns(schema: pa.Schema) -> list[str]:
    """Paths of the columns that hold files of audio: `audio.bytes`, or a binary column."""
    found = []
    for field in schema:
        if pa.types.is_struct(field.type) and BYTES in {
            field.type.field(i).name for i in range(field.type.num_fields)
        }:
            found.append(f"{field.name}.{BYTES}")
        elif _is_binary(field.type):
            found.append(field.name)
    return sorted(found, key=lambda path: path.partition(".")[0] not in _USUAL)


_USUAL = ("audio", "speech", "wav", "flac", "mp3", "audio_bytes")


def _is_binary(type: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type) or pa.types.is_large_binary(type))


class TableAudio:
    """Reads cells; keeps the last row group."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: tuple[tuple[str, str, int], Any] | None = None

    def read(self, part: Part, etag: str) -> bytes:
        """The bytes of a cell. Raises DataError if it is empty or the file is damaged."""
        group, row = part.place
        with self._lock:
            try:
                cell = self._cell(part.file, etag, group, row)
            except (pa.ArrowException, OSError, IndexError) as error:
                if isinstance(error, FileNotFoundError | PermissionError):
                    raise
                reason = str(error).splitlines()[0]
                raise DataError("damaged_member", f"row group {group} can't be read: {reason}") from error
        if not cell:
            raise DataError("no_audio", "the row has no audio")
        return cell

    def _cell(self, uri: str, etag: str, group: int, row: int) -> bytes | None:
        key = uri, etag, group
        if self._kept is None or self._kept[0] != key:
            store, name = split(uri)
            with store.open(name) as file, pq.ParquetFile(file) as table:
                column = audio_columns(table.schema_arrow)[0]
                if _bytes(table.metadata.row_group(group), column) > KEPT:
                    return _streamed(table, column, group, row)
                self._kept = key, _flat(table.read_row_group(group, columns=[column]))
        return cell_bytes(self._kept[1], row)


def _streamed(table: pq.ParquetFile, column: str, group: int, row: int) -> bytes | None:
    """A cell of a large row group, of which a few rows are in memory."""
    for batch in table.iter_batches(8, row_groups=[group], columns=[column]):
        if row < batch.num_rows:
            return cell_bytes(_flat(pa.Table.from_batches([batch])), row)
        row -= batch.num_rows
    return None


def _flat(table: pa.Table) -> Any:
    """The only column, without the struct around it."""
    column = table.column(0)
    return pa.compute.struct_field(column, [0]) if pa.types.is_struct(column.type) else column


def cell_bytes(column: Any, row: int) -> bytes | None:
    value = column[row].as_py()
    return value if isinstance(value, bytes) else None


def _bytes(group: Any, column: str) -> int:
    """Bytes of a column in a row group, not compressed."""
    for index in range(group.num_columns):
        if group.column(index).path_in_schema == column:
            return int(group.column(index).total_uncompressed_size)
    return 0
