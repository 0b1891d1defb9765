"""Every diarized turn in the formats of scoring tools: RTTM, STM or JSON Lines, one file per recording."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.versions.reader import Version, batches, each_recording
from schemas.errors import SetupError
from schemas.turn import recording_key

Row = dict[str, Any]


@dataclass(frozen=True)
class Exported:
    recordings: int
    """Files written."""
    turns: int
    renamed: int
    """Recordings whose name in RTTM or STM differs from their file name, as fields have no spaces."""


def export(version: Version, format: str, to: Path, kept: bool = False) -> Exported:
    """Write `<recording>.<format>` files under `to`, one recording in memory at a time.

    The file name is the recording's path with `/` replaced by `__`. With `kept` only kept turns are
    written, and a recording without any gets no file; neither does a recording without diarization.
    """
    lines = FORMATS[format]
    where = ds.field("status").isin(["used", "eligible"]) if kept else None
    recordings = turns = renamed = 0
    try:
        to.mkdir(parents=True, exist_ok=True)
        with version.table("turns") as table:
            ambiguous = _ambiguous(table)
            for recording, rows in each_recording(table, where=where):
                name = file_name(recording, unique=recording in ambiguous)
                with (to / f"{name}.{format}").open("w", encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in lines(name, rows.to_pylist()))
                recordings += 1
                turns += rows.num_rows
                renamed += format != "jsonl" and field(name) != name
    except OSError as error:
        raise SetupError(f"can't write {error.filename or to}: {error.strerror}") from error
    return Exported(recordings, turns, renamed)


def file_name(recording: str, unique: bool = False) -> str:
    """The file name of a recording, without extension; `unique` adds a hash to tell equal names apart."""
    name = recording.replace("/", "__")
    if not unique and len(name.encode()) <= _LONGEST:
        return name
    return name.encode()[: _LONGEST - 17].decode(errors="ignore") + "-" + recording_key(recording)


_LONGEST = 240
"""Maximum bytes of a file name; file systems allow 255 including the extension."""


def _ambiguous(table: ds.Dataset) -> set[str]:
    """Recordings that would have the same file name as another: `a__b.wav` and `a/b.wav`."""

    def recordings(where: pc.Expression) -> set[str]:
        matching = batches(table, ["recording"], where)
        return {recording for batch in matching for recording in pc.unique(batch["recording"]).to_pylist()}

    id = ds.field("recording")
    names = {file_name(recording) for recording in recordings(pc.match_substring(id, "__"))}
    if not names:
        return set()
    alike = recordings(pc.replace_substring(id, "/", "__").isin(sorted(names)))
    shared = Counter(file_name(recording) for recording in alike)
    return {recording for recording in alike if shared[file_name(recording)] > 1}


def field(text: str) -> str:
    """Text as one field of RTTM or STM: without white space, quotes, `;` and a first `#`."""
    return re.sub(r"[\s\";\x00-\x1f\x7f]+|^#", "_", text) or "_"


def _channel(row: Row) -> int:
    """The channel of the recording, from 1; versions of earlier releases only know the track."""
    return int(row.get("channel") or row["track"] + 1)


def _rttm(name: str, rows: Iterable[Row]) -> Iterator[str]:
    """NIST Rich Transcription Time Marked, one SPEAKER line per turn."""
    for row in rows:
        start, seconds = row["start"], row["end"] - row["start"]
        yield (
            f"SPEAKER {field(name)} {_channel(row)} {start:.3f} {seconds:.3f} <NA> <NA> "
            f"{field(row['speaker'])} <NA> <NA>"
        )


def _stm(name: str, rows: Iterable[Row]) -> Iterator[str]:
    """NIST segment time marks as sclite reads them; the label is `kept`, or why a turn was set aside."""
    for row in rows:
        label = (
            f"set_aside,{row['stage']}/{row['code']}"
            if row["status"] == "set_aside"
            else f"kept,{row['status']}"
        )
        text = " ".join((row["text"] or "").split())
        yield (
            f"{field(name)} {_channel(row)} {field(row['speaker'])} {row['start']:.3f} {row['end']:.3f} "
            f"<{label}> {text}"
        ).rstrip()


def _jsonl(name: str, rows: Iterable[Row]) -> Iterator[str]:
    """All columns of turns.parquet."""
    for row in rows:
        yield json.dumps({"kept": row["status"] != "set_aside"} | row, ensure_ascii=False)


FORMATS: dict[str, Callable[[str, Iterable[Row]], Iterator[str]]] = {
    "rttm": _rttm,
    "stm": _stm,
    "jsonl": _jsonl,
}
