"""What sidecars say, read when samples are made: an edited one re-runs no model.

Read once for all tasks and all later builds: the ledger keeps the texts of a unit under the hash of the
sidecars' tags, as `annotations/sidecars/<unit id>-<hash>.parquet`.
"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from urllib.parse import unquote

import pyarrow.parquet as pq

from pipeline.inputs.manifests import INLINE
from pipeline.inputs.units import PlannedUnit
from pipeline.storage.store import Store, split
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

LARGEST = 1_000_000
"""Bytes; a sidecar says things about a recording, it is no data set."""

_REQUESTS = 16


@dataclass(frozen=True)
class UnitSidecars:
    """Where the sidecars of one unit lie."""

    path: str
    """In the ledger, once they were read."""
    uris: tuple[tuple[str, str], ...]
    """Recording id, URI of its sidecar."""

    @classmethod
    def of(cls, unit: PlannedUnit) -> "UnitSidecars":
        return cls(unit.sidecars, tuple((r.id, r.sidecar.uri) for r in unit.recordings if r.sidecar))


@dataclass(frozen=True)
class Sidecar:
    """What one sidecar says."""

    id: str
    """The recording's."""
    text: str
    """A JSON object; empty where it can't be used."""
    trouble: str
    """Why it can't be used; empty where it can."""


def read_sidecars(units: Iterable[UnitSidecars], dataset: Store) -> dict[str, Sidecar]:
    """Recording id -> what its sidecar says; what is read for the first time is written to the ledger."""
    found: dict[str, Sidecar] = {}
    for unit in units:
        try:
            table = pq.read_table(BytesIO(dataset.get(unit.path)))
            said = [from_row(Sidecar, row) for row in table.to_pylist()]
        except FileNotFoundError:
            with ThreadPoolExecutor(_REQUESTS) as pool:
                said = list(pool.map(lambda item: _read(*item), unit.uris))
            buffer = BytesIO()
            pq.write_table(table_of(Sidecar, said), buffer, compression="zstd")
            dataset.put_new(unit.path, buffer.getvalue())
        found |= {sidecar.id: sidecar for sidecar in said}
    return found


def with_sidecar(recording: Recording, said: Sidecar | None) -> Recording:
    """The recording with what its sidecar says, `{}` without one.

    A sidecar that can't be used sets its recording aside: it may say what must not be done with it.
    """
    if said is not None and said.trouble:
        problem = Problem("bad_sidecar", f"the JSON file beside the recording can't be used: {said.trouble}")
        listed = (recording.id, recording.uri, recording.bytes, recording.etag, "{}", ())
        blank = (DiarizeColumn(None), TranscribeColumn(()), QualityColumn(()), TokenizeColumn(()))
        return Recording(*listed, DecodeColumn(None, (problem,)), *blank)
    return replace(recording, sidecar=said.text if said else "{}")


def sidecar_text(uri: str) -> str:
    """The text of a sidecar, a JSON object. Raises DataError `bad_sidecar` where it is none."""
    store, name = split(uri) if not uri.startswith(INLINE) else (None, "")
    try:
        if store is None:
            text = unquote(uri.removeprefix(INLINE))
        else:
            if store.head(name).bytes > LARGEST:
                raise ValueError(f"it has over {LARGEST:,} bytes")
            text = store.get(name).decode("utf-8-sig")
        if not isinstance(json.loads(text), dict):
            raise ValueError("it holds no object")
    except FileNotFoundError as error:
        raise DataError("bad_sidecar", "it is no longer there") from error
    except RecursionError as error:
        raise DataError("bad_sidecar", "it is nested too deeply") from error
    except ValueError as error:  # no UTF-8, no JSON, or what was said above
        raise DataError("bad_sidecar", str(error)) from error
    return text


def _read(recording: str, uri: str) -> Sidecar:
    try:
        return Sidecar(recording, sidecar_text(uri), "")
    except DataError as error:
        return Sidecar(recording, "", error.message)
