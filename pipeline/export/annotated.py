"""Recordings of a version with their turns, and with what annotate keeps of them: file, properties, codes."""

import os
from array import array
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.export.names import RecordingNames
from pipeline.ledger.annotations import Ledger
from pipeline.storage import dataset_layout as layout
from pipeline.storage.uri import local_path
from pipeline.versions.inspect import Row
from pipeline.versions.reader import Version, each_recording
from schemas.arrow import from_row
from schemas.errors import SetupError
from schemas.recording import Codes, DecodeColumn, DecodedAudio, Recording, TokenizeColumn
from schemas.turn import recording_key

DECODE, TOKENIZE = "decode", "tokenize"
"""The stages whose annotations are read."""


@dataclass(frozen=True)
class ExportedRecording:
    """A recording with its exported turns."""

    name: str
    """In other tools."""
    recording: Recording
    """As it was listed."""
    decoded: DecodedAudio
    rows: list[Row]
    """Of turns.parquet."""
    codes: list[Codes | None]
    """Of each row."""

    @property
    def path(self) -> str:
        """The file: a path where it is local, otherwise its URI."""
        uri = self.recording.uri
        return str(local_path(uri)) if uri.startswith("file://") else uri

    @property
    def off_clock(self) -> bool:
        """Whether players that ignore the container's clock are elsewhere at the time of a turn."""
        late, gaps = self.decoded.start_offset or 0.0, self.decoded.gap_seconds or 0.0
        return max(late, gaps) > _OFF_CLOCK

    def channels(self, row: Row) -> tuple[int, ...]:
        """Channels of the recording, from 0, that hold a turn: all where it was cut from their mix."""
        channel = row.get("channel")
        if channel:
            return (int(channel) - 1,)
        decoded = self.decoded
        if decoded.tracks > 1:  # annotated by an earlier release
            return (int(row["track"]),)
        return tuple(range(decoded.channels))


_OFF_CLOCK = 0.05
"""Seconds."""


class AnnotatedRecordings:
    """Reads the annotations of a version, for several threads, each with one unit in memory at a time."""

    def __init__(self, version: Version) -> None:
        """Raises SetupError if the annotations aren't there."""
        self._version = version
        self._files: dict[str, dict[str, list[str]]] = defaultdict(lambda: {DECODE: [], TOKENIZE: []})
        folders = {layout.annotations(version.manifest.stages[stage]): stage for stage in (DECODE, TOKENIZE)}
        for path in version.manifest.ledgers:
            stage, named = folders.get(path.rpartition("/")[0]), layout.parse_annotation(path)
            if stage and named:
                self._files[named[0]][stage].append(path)
        self._units = sorted(self._files)
        # 12 bytes for each recording: the hash of its id, and the number of its unit.
        keys, units = array("Q"), array("i")
        for number, unit in enumerate(self._units):
            for id in self._ids(unit):
                keys.append(int(recording_key(id), 16))
                units.append(number)
        order = np.argsort(np.array(keys), kind="stable")
        self._keys = np.array(keys)[order]
        self._unit_of = np.array(units)[order]
        # Each thread reads another unit, and neighbouring recordings may be in the next.
        self._unit = lru_cache(maxsize=1 + len(os.sched_getaffinity(0)))(self._read_unit)

    def each(
        self, turns: ds.Dataset, names: RecordingNames, where: pc.Expression | None
    ) -> Iterator[ExportedRecording]:
        """The recordings of the table of turns, in its order; `where` chooses turns."""
        for id, table in each_recording(turns, where=where):
            recording = self.find(id)
            if recording.decode and recording.decode.result:
                rows = table.to_pylist()
                of_turns = recording.tokenize.turns if recording.tokenize else ()
                codes = [of_turns[row["index"]] if row["index"] < len(of_turns) else None for row in rows]
                yield ExportedRecording(names(id), recording, recording.decode.result, rows, codes)

    def find(self, id: str) -> Recording:
        """The recording of an id. Raises SetupError if its annotation isn't there."""
        at = int(np.searchsorted(self._keys, np.uint64(int(recording_key(id), 16))))
        found = self._unit(int(self._unit_of[at])).get(id) if at < len(self._keys) else None
        if found is None:
            raise SetupError(f"the annotations of {self._version.uri} lack {id}: {_REMEDY}")
        return found

    def _ids(self, unit: str) -> set[str]:
        with _told():
            files = [BytesIO(self._version.store.get(path)) for path in self._files[unit][DECODE]]
        return {id for file in files for id in pq.read_table(file, columns=["id"])["id"].to_pylist()}

    def _read_unit(self, number: int) -> dict[str, Recording]:
        files = self._files[self._units[number]]
        ledger = Ledger(self._version.store)
        with _told():
            decoded, codes = (ledger.read(stage, files[stage]) for stage in (DECODE, TOKENIZE))
        return {
            id: Recording(
                id,
                row["uri"],
                row["bytes"],
                row["etag"],
                row["sidecar"],
                decode=from_row(DecodeColumn, row[DECODE]) if row[DECODE] else None,
                tokenize=from_row(TokenizeColumn, codes[id][TOKENIZE]) if id in codes else None,
            )
            for id, row in decoded.items()
        }


_REMEDY = (
    "this format needs the dataset's annotations besides its version. Copy the whole dataset, or export a "
    "format that needs only the version: rttm, stm, ctm, jsonl, srt, vtt or textgrid"
)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SetupError(f"{error.filename or error} is not there: {_REMEDY}") from error
