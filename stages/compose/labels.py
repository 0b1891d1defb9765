"""How a turn sounds beside the same speaker's other turns: slow or fast, low or high, flat or lively, soft or
loud.

A voice is its own measure: a turn is compared with the median of all turns of its speaker in the recording.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from pydantic import Field

from schemas.recording import QualityMeasures
from schemas.style import SCALES
from schemas.turn import AnnotatedTurn
from stages.stage import Config

Labels = Mapping[str, str]
"""`rate`, `pitch`, `liveliness`, `loudness`, `emotion` -> label, as far as they are known."""


class LabelsConfig(Config):
    """How far from the speaker's median a turn stands out."""

    turns_min: int = Field(3, ge=2, description="fewest measured turns of a speaker to tell what is normal")
    rate_factor: float = Field(1.2, gt=1, description="words a second: so many times the median, or less")
    pitch_semitones: float = Field(2.0, gt=0, description="median pitch: so far from the speaker's")
    liveliness_factor: float = Field(1.4, gt=1, description="range of pitch: so many times the median")
    loudness_lu: float = Field(3.0, gt=0, description="loudness units from the median")


def label(turns: Sequence[AnnotatedTurn], config: LabelsConfig) -> dict[int, Labels]:
    """Index of a turn -> its labels, for the turns of one recording.

    Turns that annotate set aside, or in which somebody else speaks too, say nothing of a speaker. Emotion is
    never measured: it comes from the sidecar, `emotion` for the whole recording or `emotions` as
    `[{start, end, emotion}]` in seconds: the one that covers most of a turn, if that is half of it. A
    synthesised turn is what its voice was asked for.
    """
    limits = {
        "rate": math.log(config.rate_factor),
        "pitch": config.pitch_semitones,
        "liveliness": math.log(config.liveliness_factor),
        "loudness": config.loudness_lu,
    }
    by_speaker: dict[str, list[AnnotatedTurn]] = {}
    for turn in turns:
        if turn.assessment is not None and turn.problem is None and not turn.turn.overlapped:
            by_speaker.setdefault(turn.turn.speaker, []).append(turn)
    found: dict[int, dict[str, str]] = {turn.index: {} for turn in turns}
    for own in by_speaker.values():
        for name, scale in SCALES.items():
            values = {
                t.index: v for t in own if t.assessment and (v := _MEASURES[name](t.assessment)) is not None
            }
            if len(values) < config.turns_min:
                continue
            middle = median(values.values())
            for index, value in values.items():
                away = value - middle
                found[index][name] = scale[1 + (away >= limits[name]) - (away <= -limits[name])]
    for turn in turns:
        emotion = _emotion(turn)
        if emotion:
            found[turn.index]["emotion"] = emotion
        found[turn.index] |= _asked_for(turn)
    return dict(found)


def _asked_for(turn: AnnotatedTurn) -> Labels:
    """The labels of the style in which a turn was synthesised."""
    match turn.metadata.get("synthesis"):
        case {"spoken": [*spoken]} if turn.index < len(spoken):
            labels = spoken[turn.index].get("labels") if isinstance(spoken[turn.index], dict) else None
            if isinstance(labels, dict):
                return {str(name): str(value) for name, value in labels.items()}
    return {}


def _log(value: float | None, factor: float = 1.0) -> float | None:
    return factor * math.log(value) if value is not None and value > 0 else None


_MEASURES: dict[str, Callable[[QualityMeasures], float | None]] = {
    "rate": lambda sound: _log(sound.words_per_second),
    "pitch": lambda sound: _log(sound.pitch_median_hz, 12 / math.log(2)),
    "liveliness": lambda sound: _log(sound.pitch_range_semitones),
    "loudness": lambda sound: sound.loudness_lufs,
}
"""Measures whose differences mean the same everywhere on their scale."""


def _emotion(turn: AnnotatedTurn) -> str | None:
    sidecar = turn.metadata
    covered: dict[str, float] = {}
    stretches = sidecar.get("emotions")
    for stretch in stretches if isinstance(stretches, list) else ():
        match stretch:
            case {"start": int() | float() as start, "end": int() | float() as end, "emotion": str(emotion)}:
                covered[emotion] = covered.get(emotion, 0.0) + _overlap(turn, start, end)
    if any(covered.values()):
        longest = max(covered, key=lambda emotion: (covered[emotion], emotion))
        return longest if covered[longest] >= turn.turn.seconds / 2 else None
    whole: Any = sidecar.get("emotion")
    return whole if isinstance(whole, str) and whole else None


def _overlap(turn: AnnotatedTurn, start: float, end: float) -> float:
    return max(0.0, min(turn.turn.end, end) - max(turn.turn.start, start))
