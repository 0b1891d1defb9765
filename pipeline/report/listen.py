"""The samples that a reader of the report can listen to."""

import base64
import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from markupsafe import Markup

from pipeline.report.charts import Stretch, strip
from pipeline.versions.reader import batches
from schemas.hashing import shuffle_key
from schemas.sample import turns_in
from stages.stage import SAMPLE_RATE, Samples

Clip = Callable[[str, int, float, float], Samples | None]
"""Audio of a recording's track between two times in seconds, None where it can't be had."""

PICKED = 10
LONGEST = 20.0
"""Seconds of audio shown of each sample."""
AROUND = (2.0, 5.0)
"""Least and most seconds shown on either side of a sample."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """A sample with its surroundings, as the page shows it."""

    row: Row
    """Of the index."""
    turns: list[Row]
    """Of the sample itself."""
    start: float
    end: float
    lanes: list[str]
    """Names of the speakers in the strip, from top to bottom."""
    strip: Markup
    audio: str | None
    """MP3 in base64."""


def pick(index: ds.Dataset, every: int) -> list[Row]:
    """Samples with audio, spread over languages and families, of every so many-th; drawn by hash."""
    groups: dict[tuple[str, str], list[tuple[str, Row]]] = defaultdict(list)
    seen = 0
    for batch in batches(index):
        for row in batch.take(np.arange(-seen % every, batch.num_rows, every)).to_pylist():
            if not row["seconds"]:
                continue
            group = groups[row["family"], row["language"] or ""]
            group.append((shuffle_key(row["key"]), row))
            if len(group) > 4 * PICKED:
                group[:] = _first(group)
        seen += batch.num_rows
    ranked = [_first(group) for group in groups.values()]
    rounds = [[entry for entry in entries if entry] for entries in zip_longest(*ranked)]
    return [row for entries in rounds for _, row in _first(entries)][:PICKED]


def _first(entries: list[tuple[str, Row]]) -> list[tuple[str, Row]]:
    return sorted(entries, key=lambda entry: entry[0])[:PICKED]


def listen(rows: list[Row], turns: ds.Dataset, clip: Clip) -> list[Heard]:
    """Samples with the turns around them and their audio, as far as `clip` has it."""
    names = sorted({row["recording"] for row in rows})
    of_recording: dict[str, list[Row]] = defaultdict(list)
    of_these = ds.field("recording").isin(pa.array(names, pa.string()))
    for batch in batches(turns, _COLUMNS, of_these):
        for turn in batch.to_pylist():
            of_recording[turn["recording"]].append(turn)
    return [_heard(row, of_recording[row["recording"]], clip) for row in rows]


_COLUMNS = ["recording", "index", "start", "end", "speaker", "track", "status", "message", "text"]


def _heard(row: Row, around: list[Row], clip: Clip) -> Heard:
    own = [turn for turn in around if turn["index"] in turns_in(row["key"])]
    first, last = min(turn["start"] for turn in own), max(turn["end"] for turn in own)
    beside = float(np.clip((LONGEST - (last - first)) / 2, *AROUND))
    start = max(0.0, first - beside)
    end = min(last + beside, start + LONGEST)
    tracks = sorted({turn["track"] for turn in around})
    pieces = [piece for track in tracks if (piece := clip(row["recording"], track, start, end)) is not None]
    audio = None
    if pieces and min(map(len, pieces)) > 0:
        mixed = np.mean([piece[: min(map(len, pieces))] for piece in pieces], axis=0)
        end = min(end, start + len(mixed) / SAMPLE_RATE)
        audio = base64.b64encode(mp3(mixed)).decode()
    shown = [turn for turn in around if turn["start"] < end and turn["end"] > start]
    lanes = list(dict.fromkeys(turn["speaker"] for turn in shown))
    stretches = [
        Stretch(turn["start"], turn["end"], lanes.index(turn["speaker"]), _kind(turn, own), _title(turn))
        for turn in shown
    ]
    return Heard(row, own, start, end, lanes, strip(stretches, len(lanes), start, end), audio)


def _kind(turn: Row, own: list[Row]) -> str:
    return "aside" if turn["status"] == "set_aside" else "sample" if turn in own else "kept"


def _title(turn: Row) -> str:
    said = turn["text"] or "no text"
    fate = f"set aside: {turn['message']}" if turn["status"] == "set_aside" else turn["status"]
    return f"{turn['speaker']}, {turn['start']:.2f} to {turn['end']:.2f} s: {said} ({fate})"


def mp3(samples: Samples) -> bytes:
    """16 kHz mono MP3 at 32 kbit/s, at an even loudness; the same bytes for the same samples."""
    import soundfile

    level = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    peak = float(np.abs(samples).max()) if len(samples) else 0.0
    gain = min(0.08 / max(level, 1e-6), 0.95 / max(peak, 1e-6))
    out = io.BytesIO()
    soundfile.write(
        out, samples * gain, SAMPLE_RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=0.85
    )
    return out.getvalue()
