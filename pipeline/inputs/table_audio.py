"""Audio in cells of Parquet files, read a row group at a time and only the column of audio."""

from dataclasses import dataclass
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.inputs.part import FilePart
from pipeline.storage.store import split
from schemas.errors import DataError

KEPT = 256_000_000
"""Bytes of audio of a row group up to which it is kept for the next rows."""

_USUAL = ("audio", "speech", "wav", "flac", "mp3", "mp4", "audio_bytes")
"""Names that a column of audio has, where there are several binary ones."""


@dataclass(frozen=True)
class AudioColumn:
    """A column whose cells are files of audio."""

    name: str
    bytes: str
    """Path in the schema of the bytes: `audio.bytes`, or the column itself."""
    path: str | None
    """That of the name of the file, if it has one."""

    @staticmethod
    def of(schema: pa.Schema) -> "AudioColumn | None":
        """Hugging Face's struct of `bytes` and `path`, or a binary column with a usual name."""
        found = []
        for field in schema:
            inner = (
                {field.type.field(i).name: field.type.field(i).type for i in range(field.type.num_fields)}
                if pa.types.is_struct(field.type)
                else {}
            )
            if _is_binary(inner.get("bytes")):
                path = f"{field.name}.path" if "path" in inner else None
                found.append(AudioColumn(field.name, f"{field.name}.bytes", path))
            elif _is_binary(field.type) and field.name in _USUAL:
                found.append(AudioColumn(field.name, field.name, None))
        return min(found, key=lambda column: column.name not in _USUAL, default=None)

    def mean_bytes(self, group: Any) -> tuple[int, bool]:
        """Mean size of the audio in a row group, and whether it holds any at all, by its metadata."""
        chunk = self._chunk(group)
        nulls = chunk.statistics.null_count if chunk.statistics and chunk.statistics.has_null_count else 0
        rows = max(1, group.num_rows)
        return int(chunk.total_uncompressed_size) // rows, nulls < group.num_rows

    def kept(self, group: Any) -> bool:
        """Whether the audio of a row group fits in memory."""
        return int(self._chunk(group).total_uncompressed_size) <= KEPT

    def _chunk(self, group: Any) -> Any:
        chunks = (group.column(index) for index in range(group.num_columns))
        return next(chunk for chunk in chunks if chunk.path_in_schema == self.bytes)


class TableAudio:
    """Reads cells; keeps the last row group."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: tuple[tuple[str, str, int], Any] | None = None

    def read(self, part: FilePart, etag: str) -> bytes:
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
                column = AudioColumn.of(table.schema_arrow)
                if column is None:
                    return None
                if not column.kept(table.metadata.row_group(group)):
                    return _streamed(table, column, group, row)
                self._kept = key, _flat(table.read_row_group(group, columns=[column.bytes]))
        return _value(self._kept[1], row)


def _is_binary(type: pa.DataType | None) -> bool:
    return type is not None and bool(pa.types.is_binary(type) or pa.types.is_large_binary(type))


def _streamed(table: pq.ParquetFile, column: AudioColumn, group: int, row: int) -> bytes | None:
    """A cell of a large row group, of which a few rows are in memory."""
    for batch in table.iter_batches(8, row_groups=[group], columns=[column.bytes]):
        if row < batch.num_rows:
            return _value(_flat(pa.Table.from_batches([batch])), row)
        row -= batch.num_rows
    return None


def _flat(table: pa.Table) -> Any:
    """The only column, without the struct around it."""
    column = table.column(0)
    return pc.struct_field(column, [0]) if pa.types.is_struct(column.type) else column


def _value(column: Any, row: int) -> bytes | None:
    value = column[row].as_py()
    return value if isinstance(value, bytes) else None
