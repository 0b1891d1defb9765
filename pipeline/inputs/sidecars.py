"""The contents of sidecars, read when groups are packed, so that editing one re-runs no model.

Each is read once for all tasks and all later builds: the ledger keeps the texts of a unit under the hash of
the sidecars' tags, as `annotations/sidecars/<unit id>-<hash>.parquet`.
"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO

import pyarrow.parquet as pq

from pipeline.inputs.small_files import read_text
from pipeline.inputs.units import PlannedUnit
from pipeline.storage.store import Store
from schemas.arrow import from_row, table_of
from schemas.errors import DataError
from schemas.recording import (
    DecodeColumn,
    DiarizeColumn,
    Problem,
    QualityColumn,
    Recording,
    TokenizeColumn,
    TranscribeColumn,
)
from schemas.text_files import valid

LARGEST = 1_000_000
"""Maximum bytes of a sidecar, which is metadata of a recording and not a data set."""

_REQUESTS = 16


@dataclass(frozen=True)
class UnitSidecars:
    """The locations of the sidecars of one unit."""

    path: str
    """In the ledger; written when they are first read."""
    uris: tuple[tuple[str, str], ...]
    """Recording id, URI of its sidecar."""

    @classmethod
    def of(cls, unit: PlannedUnit) -> "UnitSidecars":
        return cls(unit.sidecars, tuple((r.id, r.sidecar.uri) for r in unit.recordings if r.sidecar))


@dataclass(frozen=True)
class Sidecar:
    """The contents of one sidecar."""

    id: str
    """The recording's."""
    text: str
    """A JSON object; empty if it is invalid."""
    trouble: str
    """Why it is invalid; empty if it is valid."""


def read_sidecars(units: Iterable[UnitSidecars], dataset: Store) -> dict[str, Sidecar]:
    """Recording id -> its sidecar; those read for the first time are written to the ledger."""
    by_recording: dict[str, Sidecar] = {}
    for unit in units:
        try:
            table = pq.read_table(BytesIO(dataset.get(unit.path)))
            sidecars = [from_row(Sidecar, row) for row in table.to_pylist()]
        except FileNotFoundError:
            with ThreadPoolExecutor(_REQUESTS) as pool:
                sidecars = list(pool.map(lambda item: _read(*item), unit.uris))
            buffer = BytesIO()
            pq.write_table(table_of(Sidecar, sidecars), buffer, compression="zstd")
            dataset.put_new(unit.path, buffer.getvalue())
        by_recording |= {sidecar.id: sidecar for sidecar in sidecars}
    return by_recording


def with_sidecar(recording: Recording, sidecar: Sidecar | None) -> Recording:
    """The recording with the text of its sidecar, `{}` without one.

    An invalid sidecar sets its recording aside: it may restrict how the recording can be used.
    """
    if sidecar is not None and sidecar.trouble:
        problem = Problem("bad_sidecar", f"the JSON file beside the recording is invalid: {sidecar.trouble}")
        listed = (recording.id, recording.uri, recording.bytes, recording.etag, "{}", ())
        blank = (DiarizeColumn(None), TranscribeColumn(()), QualityColumn(()), TokenizeColumn(()))
        return Recording(*listed, DecodeColumn(None, (problem,)), *blank)
    return replace(recording, sidecar=sidecar.text if sidecar else "{}")


def sidecar_text(uri: str) -> str:
    """The text of a sidecar. Raises DataError `bad_sidecar` if it is not a JSON object."""
    try:
        text = read_text(uri, LARGEST)
        if not valid(text):
            raise ValueError("it is not valid UTF-8")
        if not isinstance(json.loads(text), dict):
            raise ValueError("it is not a JSON object")
    except DataError as error:
        raise DataError("bad_sidecar", error.message) from error
    except RecursionError as error:
        raise DataError("bad_sidecar", "it is nested too deeply") from error
    except ValueError as error:  # invalid JSON, or one of the above
        raise DataError("bad_sidecar", str(error)) from error
    return text


def _read(recording: str, uri: str) -> Sidecar:
    try:
        return Sidecar(recording, sidecar_text(uri), "")
    except DataError as error:
        return Sidecar(recording, "", error.message)
