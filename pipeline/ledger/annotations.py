"""The ledger: what annotate has committed, a file for each unit and stage, written once.

`annotations/<stage fingerprint>/<unit>.parquet` holds that stage's column for every recording of the
unit; `<unit>.retry-<n>.parquet` beside it holds later answers for recordings that were tried again.
"""

from collections.abc import Iterable
from dataclasses import fields
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from schemas.arrow import from_row, schema_of, to_row
from schemas.recording import STAGES, Recording

_LISTED = ("id", "uri", "bytes", "etag", "sidecar", "companions")
"""Columns that the first stage keeps besides its own: what the listing and the sidecar said."""


class Ledger:
    """The annotations of one dataset."""

    def __init__(self, dataset: Store) -> None:
        self.dataset = dataset

    def committed(self, fingerprint: str) -> dict[str, list[str]]:
        """Units that a stage has committed, each with its files in the order in which they are read."""
        found: dict[str, list[tuple[int, str]]] = {}
        for stored in self.dataset.list(layout.annotations(fingerprint)):
            if named := layout.parse_annotation(stored.path):
                unit, retry = named
                found.setdefault(unit, []).append((retry, stored.path))
        # A unit without its first file was never committed.
        return {unit: [p for _, p in sorted(files)] for unit, files in found.items() if min(files)[0] == 0}

    def read(self, stage: str, files: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Recording id -> the row of a stage, later files before earlier ones."""
        rows: dict[str, dict[str, Any]] = {}
        for path in files:
            table = pq.read_table(BytesIO(self.dataset.get(path)), schema=_schema(stage))
            rows |= {row["id"]: row for row in table.to_pylist()}
        return rows

    def write(
        self, stage: str, fingerprint: str, unit: str, recordings: Iterable[Recording], retry: int = 0
    ) -> int:
        """Commit a stage's column; its bytes, 0 where another was first, whose file stays."""
        rows = [{name: to_row(getattr(r, name)) for name in _columns(stage)} for r in recordings]
        buffer = BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=_schema(stage)), buffer, compression="zstd")
        content = buffer.getvalue()
        new = self.dataset.put_new(layout.annotation(fingerprint, unit, retry), content)
        return len(content) if new else 0

    def there(self, fingerprint: str, unit: str, retry: int = 0) -> tuple[str, ...]:
        """The file of a unit's stage, if it has been committed by now."""
        path = layout.annotation(fingerprint, unit, retry)
        return (path,) if self.dataset.exists(path) else ()

    def recordings(self, files: dict[str, list[str]]) -> list[Recording]:
        """The recordings of one unit with all columns; `files` are the unit's, by stage."""
        merged: dict[str, dict[str, Any]] = {}
        for stage in STAGES:
            for recording, row in self.read(stage, files[stage]).items():
                merged.setdefault(recording, {}).update(row)
        blank = dict.fromkeys(field.name for field in fields(Recording))
        return [from_row(Recording, blank | row) for row in merged.values()]


def _columns(stage: str) -> tuple[str, ...]:
    return (*_LISTED, stage) if stage == STAGES[0] else ("id", stage)


def _schema(stage: str) -> pa.Schema:
    whole = schema_of(Recording)
    return pa.schema([whole.field(name) for name in _columns(stage)])
