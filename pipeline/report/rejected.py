"""Audio of what was set aside: a few clips of each reason, to judge whether the reason is right."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow.dataset as ds

from pipeline.report.listen import Clip, mp3_base64, turns_by_recording
from pipeline.versions.reader import batches

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
    """A turn that was set aside, or the start of a recording, with its audio."""

    recording: str
    start: float
    end: float
    speaker: str
    text: str
    message: str
    audio: str
    """MP3 in base64."""


def rejected_clips(
    set_aside: ds.Dataset, turns: ds.Dataset, clip: Clip
) -> dict[ReasonKey, list[RejectedClip]]:
    """Up to ten clips of each reason, as far as `clip` returns audio."""
    chosen = choose(set_aside)
    recordings = {row["recording"] for rows in chosen.values() for row in rows}
    of_recording = turns_by_recording(recordings, turns)
    found: dict[ReasonKey, list[RejectedClip]] = {}
    for reason, rows in chosen.items():
        clips = [_clip(row, of_recording[row["recording"]], clip) for row in rows]
        found[reason] = [one for one in clips if one is not None]
    return found


def choose(set_aside: ds.Dataset) -> dict[ReasonKey, list[Row]]:
    """Rows with audio of each reason, spread over the recordings with the lowest hash.

    All reasons prefer the same recordings, so that few have to be decoded.
    """
    candidates: dict[ReasonKey, dict[str, list[Row]]] = {}
    for batch in batches(set_aside):
        for row in batch.to_pylist():
            if row["start"] is None or row["end"] is None or row["end"] <= row["start"]:
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
    return sorted(chosen, key=lambda row: (row["recording"], row["start"], row["end"]))


@lru_cache(maxsize=1000)
def _rank(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _turn_rank(row: Row) -> str:
    return _rank(f"{row['recording']} {row['turn']}")


def _clip(row: Row, turns: list[Row], clip: Clip) -> RejectedClip | None:
    turn = next((turn for turn in turns if turn["index"] == row["turn"]), None)
    start = row["start"] if turn is None else max(0.0, row["start"] - _MARGIN)
    end = min(row["end"] if turn is None else row["end"] + _MARGIN, start + SECONDS_MAX)
    samples = clip(row["recording"], turn["track"] if turn else 0, start, end)
    if samples is None or not len(samples):
        return None
    speaker, text = (turn["speaker"], turn["text"] or "") if turn else ("", "")
    audio = mp3_base64(samples)
    return RejectedClip(row["recording"], row["start"], row["end"], speaker, text, row["message"], audio)
