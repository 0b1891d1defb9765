"""The sample cards of the report: samples with their prompt and target, and the audio around them."""

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
from pipeline.report.links import turn_link
from pipeline.report.sample_parts import PartsOf, SamplePart
from pipeline.versions.reader import batches
from schemas.hashing import shuffle_key
from schemas.sample import turns_in
from stages.stage import SAMPLE_RATE, Samples

Clip = Callable[[str, int, float, float], Samples | None]
"""Audio of a recording's track between two times in seconds; None if it can't be read."""

SAMPLES_SHOWN = 10
SECONDS_MAX = 20.0
"""Longest audio of a card."""
_CONTEXT = (2.0, 5.0)
"""Least and most seconds of context on each side of a sample."""

Row = dict[str, Any]


@dataclass(frozen=True)
class SampleCard:
    """A sample with its context, as the page shows it."""

    row: Row
    """Of the index."""
    turns: list[Row]
    """The turns of the sample."""
    parts: list[SamplePart]
    """Prompt and target, in the order of the tokens; empty if the shard can't be read."""
    start: float
    end: float
    lanes: list[str]
    """Names of the speakers in the strip, from top to bottom."""
    strip: Markup
    audio: str | None
    """MP3 in base64."""

    @property
    def link(self) -> str:
        """Its first turn, on the page of `browse`."""
        return turn_link(self.row["recording"], self.turns[0]["index"])


def pick(index: ds.Dataset, every: int) -> list[Row]:
    """Index rows of samples with audio, spread over languages and families; chosen by hash.

    Only every `every`-th row is considered.
    """
    groups: dict[tuple[str, str], list[tuple[str, Row]]] = defaultdict(list)
    seen = 0
    for batch in batches(index):
        for row in batch.take(np.arange(-seen % every, batch.num_rows, every)).to_pylist():
            if not row["seconds"]:
                continue
            group = groups[row["family"], row["language"] or ""]
            group.append((shuffle_key(row["key"]), row))
            if len(group) > 4 * SAMPLES_SHOWN:
                group[:] = _first(group)
        seen += batch.num_rows
    ranked = [_first(group) for group in groups.values()]
    rounds = [[entry for entry in entries if entry] for entries in zip_longest(*ranked)]
    return [row for entries in rounds for _, row in _first(entries)][:SAMPLES_SHOWN]


def _first(entries: list[tuple[str, Row]]) -> list[tuple[str, Row]]:
    return sorted(entries, key=lambda entry: entry[0])[:SAMPLES_SHOWN]


def sample_cards(rows: list[Row], turns: ds.Dataset, clip: Clip, parts_of: PartsOf) -> list[SampleCard]:
    """Cards of samples, with the turns around them and as much audio as `clip` returns."""
    of_recording = turns_by_recording({row["recording"] for row in rows}, turns)
    return [_card(row, of_recording[row["recording"]], clip, parts_of) for row in rows]


def turns_by_recording(recordings: set[str], turns: ds.Dataset) -> dict[str, list[Row]]:
    """Recording -> the rows of its turns, with the columns that the page shows."""
    found: dict[str, list[Row]] = defaultdict(list)
    of_these = ds.field("recording").isin(pa.array(sorted(recordings), pa.string()))
    for batch in batches(turns, _COLUMNS, of_these):
        for turn in batch.to_pylist():
            found[turn["recording"]].append(turn)
    return found


_COLUMNS = ["recording", "index", "start", "end", "speaker", "track", "status", "message", "text"]


def _card(row: Row, around: list[Row], clip: Clip, parts_of: PartsOf) -> SampleCard:
    own = [turn for turn in around if turn["index"] in turns_in(row["key"])]
    first, last = min(turn["start"] for turn in own), max(turn["end"] for turn in own)
    context = float(np.clip((SECONDS_MAX - (last - first)) / 2, *_CONTEXT))
    start = max(0.0, first - context)
    end = min(last + context, start + SECONDS_MAX)
    tracks = sorted({turn["track"] for turn in around})
    pieces = [piece for track in tracks if (piece := clip(row["recording"], track, start, end)) is not None]
    audio = None
    if pieces and min(map(len, pieces)) > 0:
        mixed = np.mean([piece[: min(map(len, pieces))] for piece in pieces], axis=0)
        end = min(end, start + len(mixed) / SAMPLE_RATE)
        audio = mp3_base64(mixed)
    shown = [turn for turn in around if turn["start"] < end and turn["end"] > start]
    lanes = list(dict.fromkeys(turn["speaker"] for turn in shown))
    stretches = [
        Stretch(turn["start"], turn["end"], lanes.index(turn["speaker"]), _kind(turn, own), _title(turn))
        for turn in shown
    ]
    drawn = strip(stretches, len(lanes), start, end)
    return SampleCard(row, own, parts_of(row), start, end, lanes, drawn, audio)


def _kind(turn: Row, own: list[Row]) -> str:
    return "aside" if turn["status"] == "set_aside" else "sample" if turn in own else "kept"


def _title(turn: Row) -> str:
    text = turn["text"] or "no text"
    outcome = f"set aside: {turn['message']}" if turn["status"] == "set_aside" else turn["status"]
    return f"{turn['speaker']}, {turn['start']:.2f} to {turn['end']:.2f} s: {text} ({outcome})"


def mp3_base64(samples: Samples) -> str:
    """`mp3` in base64, for a data URI."""
    return base64.b64encode(mp3(samples)).decode()


def mp3(samples: Samples) -> bytes:
    """16 kHz mono MP3 at 32 kbit/s, normalized in loudness; equal samples give equal bytes."""
    import soundfile

    level = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    peak = float(np.abs(samples).max()) if len(samples) else 0.0
    gain = min(0.08 / max(level, 1e-6), 0.95 / max(peak, 1e-6))
    out = io.BytesIO()
    soundfile.write(
        out, samples * gain, SAMPLE_RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=0.85
    )
    return out.getvalue()
