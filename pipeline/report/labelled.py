"""Turns to listen to for each label: styles and emotions that are claimed, by outcome, and what ears hear."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.dataset as ds

from pipeline.report.links import turn_link
from pipeline.report.listen import mp3_base64
from pipeline.report.recording_audio import RecordingAudio
from pipeline.versions.reader import batches
from schemas.hashing import shuffle_key

CLIPS_PER_LABEL = 10
LABELS_SHOWN = 30
"""The most frequent ones; a tagger of sounds may have hundreds."""
SECONDS_MAX = 6.0
"""Longest clip."""

Row = dict[str, Any]


@dataclass(frozen=True)
class LabelledClip:
    """A turn with a label, from its start."""

    row: Row
    audio: str | None
    """MP3 in base64; None if it can't be read."""

    @property
    def link(self) -> str:
        """The turn on the page of `browse`."""
        return turn_link(self.row["recording"], self.row["index"])


@dataclass(frozen=True)
class LabelledClips:
    label: str
    turns: int
    """How many turns have it."""
    clips: list[LabelledClip]


def labelled_clips(turns: ds.Dataset, audio: RecordingAudio) -> list[LabelledClips]:
    """Up to ten clips of each label, chosen by hash."""
    numbers: Counter[str] = Counter()
    chosen: dict[str, list[tuple[str, Row]]] = {}
    for batch in batches(turns, _COLUMNS):
        for row in batch.to_pylist():
            for label in _labels(row):
                numbers[label] += 1
                rows = chosen.setdefault(label, [])
                rows.append((shuffle_key(row["key"]), row))
                rows.sort(key=lambda ranked: ranked[0])
                del rows[CLIPS_PER_LABEL:]
    shown = sorted(sorted(numbers), key=lambda label: -numbers[label])[:LABELS_SHOWN]
    return [
        LabelledClips(label, numbers[label], [_clip(row, audio) for _, row in chosen[label]])
        for label in sorted(shown)
    ]


_COLUMNS = {
    **{name: ds.field(name) for name in ("key", "recording", "index", "start", "end", "speaker", "track")},
    **{name: ds.field(name) for name in ("status", "text", "styles")},
    "heard": ds.field("assessment", "heard"),
}


def _labels(row: Row) -> Iterator[str]:
    """What is claimed of a turn, and of a kept one what is heard."""
    for outcome in row["styles"] or ():
        style, _, found = outcome.rpartition("/")
        yield f"{style}, {found.replace('_', ' ')}"
    if row["status"] != "set_aside":
        yield from (f"{heard['ear']}: {heard['label']}" for heard in row["heard"] or () if heard["label"])


def _clip(row: Row, audio: RecordingAudio) -> LabelledClip:
    end = min(row["end"], row["start"] + SECONDS_MAX)
    samples = audio.clip(row["recording"], row["track"], row["start"], end)
    return LabelledClip(row, None if samples is None or not len(samples) else mp3_base64(samples))
