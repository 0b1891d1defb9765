"""Audio of what was set aside: a few clips of each reason, to judge whether the reason is right."""

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow.dataset as ds

from pipeline.report.links import turn_link
from pipeline.report.listen import mp3, turns_by_recording
from pipeline.report.recording_audio import RecordingAudio
from pipeline.versions.reader import batches
from schemas.errors import DataError
from schemas.recording import STAGES
from stages.stage import SAMPLE_RATE

CLIPS_PER_REASON = 10
SECONDS_MAX = 6.0
"""Longest clip."""
_MARGIN = 0.25
"""Seconds of context on each side of a turn."""

Row = dict[str, Any]
ReasonKey = tuple[str, str]
"""Stage and code."""


@dataclass(frozen=True)
class RejectedClip:
    """A turn that was set aside, or the first sound of a recording, with its audio."""

    recording: str
    start: float
    end: float
    speaker: str
    text: str
    message: str
    audio: bytes | None
    """MP3; None if there is nothing to hear."""
    unheard: str = ""
    """Why there is nothing to hear."""
    turn: int | None = None
    """Index of the turn; None for a recording."""

    @property
    def times(self) -> str:
        """Its times as text; empty if it has none."""
        return f"{self.start:.2f} to {self.end:.2f} s" if self.end > self.start else ""

    @property
    def link(self) -> str:
        """The turn on the page of `browse`; empty for a recording."""
        return "" if self.turn is None else turn_link(self.recording, self.turn)

    @property
    def base64(self) -> str:
        """The audio for a data URI."""
        return base64.b64encode(self.audio or b"").decode()


def rejected_clips(
    set_aside: ds.Dataset, turns: ds.Dataset, audio: RecordingAudio, code: str | None = None
) -> dict[ReasonKey, list[RejectedClip]]:
    """Up to ten clips of each reason, or of one code."""
    chosen = choose(set_aside, code)
    recordings = {row["recording"] for rows in chosen.values() for row in rows}
    of_recording = turns_by_recording(recordings, turns)
    return {
        reason: [_clip(row, of_recording[row["recording"]], audio) for row in rows]
        for reason, rows in chosen.items()
    }


def choose(set_aside: ds.Dataset, code: str | None = None) -> dict[ReasonKey, list[Row]]:
    """Turns and recordings of each reason, or of one code, spread over the recordings with the lowest hash.

    Lines of companions and rows of text are left out: they have no sound. All reasons prefer the same
    recordings, so that few have to be decoded.
    """
    candidates: dict[ReasonKey, dict[str, list[Row]]] = {}
    for batch in batches(set_aside):
        for row in batch.to_pylist():
            if not _has_sound(row) or code not in (None, row["code"], f"{row['stage']}/{row['code']}"):
                continue
            recordings = candidates.setdefault((row["stage"], row["code"]), {})
            if row["recording"] not in recordings and len(recordings) == CLIPS_PER_REASON:
                last = max(recordings, key=_rank)
                if _rank(row["recording"]) > _rank(last):
                    continue
                del recordings[last]
            rows = recordings.setdefault(row["recording"], [])
            rows.append(row)
            rows.sort(key=_turn_rank)
            del rows[CLIPS_PER_REASON:]
    return {reason: _rounds(recordings) for reason, recordings in candidates.items()}


def _rounds(recordings: dict[str, list[Row]]) -> list[Row]:
    """One row of each recording, then a second one of each, up to the limit; sorted by position."""
    ranked = [recordings[name] for name in sorted(recordings, key=_rank)]
    ordered = [rows[n] for n in range(CLIPS_PER_REASON) for rows in ranked if n < len(rows)]
    chosen = ordered[:CLIPS_PER_REASON]
    return sorted(chosen, key=lambda row: (row["recording"], row["start"] or 0.0, row["end"] or 0.0))


@lru_cache(maxsize=1000)
def _rank(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _turn_rank(row: Row) -> str:
    return _rank(f"{row['recording']} {row['turn']}")


def _has_sound(row: Row) -> bool:
    """Whether a row is a turn or a recording; one that could not be decoded has no times."""
    return row.get("line") is None and (row["start"] is not None or row["stage"] == STAGES[0])


def _clip(row: Row, turns: list[Row], audio: RecordingAudio) -> RejectedClip:
    turn = next((turn for turn in turns if turn["index"] == row["turn"]), None)
    start, end = row["start"] or 0.0, row["end"] or 0.0
    speaker, text = (turn["speaker"], turn["text"] or "") if turn else ("", "")
    samples, unheard = np.zeros(0, np.float32), "there is no sound at these times"
    try:
        if row["turn"] is None:
            start, samples = audio.first(row["recording"], SECONDS_MAX)
            end = start + len(samples) / SAMPLE_RATE
        else:
            first = max(0.0, start - _MARGIN)
            last = min(end + _MARGIN, first + SECONDS_MAX)
            samples = audio.turn(row["recording"], turn["track"] if turn else 0, first, last)
    except DataError as error:
        unheard = "it can't be decoded" + (f": {error}" if str(error) != row["message"] else "")
    heard = mp3(samples) if len(samples) else None
    about = (row["recording"], start, end, speaker, text, row["message"])
    return RejectedClip(*about, heard, "" if heard else unheard, row["turn"])
