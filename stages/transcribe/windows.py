"""Packing of several turns of a recording into the 30 s windows of the recogniser."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from schemas.recording import Turn
from stages.stage import SAMPLE_RATE, Samples

MAX_SECONDS = 29.5
"""Maximum length of a window in seconds that several turns share."""
WINDOW_SECONDS = 30.0
"""The recogniser's own window: it doesn't hear what comes after it."""
PAUSE = 0.5
"""Silence in seconds between two turns of a window."""
MARGIN = 0.2
"""Context in seconds on both sides of a turn: diarization cuts tightly, and cut words are misrecognised."""


@dataclass(frozen=True)
class Excerpt:
    """The audio that is recognised for a turn: the turn and a margin on both sides; times in seconds."""

    turn: int
    """Index of the turn in its recording."""
    track: int
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def excerpts(turns: Sequence[Turn], live: Sequence[int]) -> list[Excerpt]:
    """An excerpt per live turn. Its margins cover at most half of the pause to the next turn, live or not."""
    pauses: dict[int, tuple[float, float]] = {}
    for track in {turn.track for turn in turns}:
        own = [i for i, turn in enumerate(turns) if turn.track == track]
        before = -np.inf
        for i, following in zip(own, [*own[1:], None], strict=True):
            after = np.inf if following is None else turns[following].start
            pauses[i] = turns[i].start - before, after - turns[i].end
            before = max(before, turns[i].end)
    result = []
    for index in live:
        turn, (before, after) = turns[index], pauses[index]
        start = turn.start - min(MARGIN, max(0.0, before) / 2)
        end = turn.end + min(MARGIN, max(0.0, after) / 2)
        result.append(Excerpt(index, turn.track, max(0.0, start), end))
    return result


def pack(excerpts: Sequence[Excerpt]) -> list[list[Excerpt]]:
    """Windows of consecutive excerpts of one track.

    Every excerpt is in exactly one window, in order; one that fills the limit has a window of its own.
    """
    windows: list[list[Excerpt]] = []
    latest: dict[int, list[Excerpt]] = {}
    for excerpt in excerpts:
        window = latest.get(excerpt.track)
        if window is None or length([*window, excerpt]) > MAX_SECONDS:
            window = latest[excerpt.track] = []
            windows.append(window)
        window.append(excerpt)
    return windows


def quietest(samples: Samples) -> float:
    """Seconds from the start of samples [n] to the middle of the quietest fifth of a second."""
    width = SAMPLE_RATE // 5
    energy = np.cumsum(np.square(samples, dtype=np.float64))
    return (int(np.argmin(energy[width:] - energy[:-width])) + width / 2) / SAMPLE_RATE


def length(window: Sequence[Excerpt]) -> float:
    """Length of a window in seconds, including the pauses between its excerpts."""
    return sum(excerpt.seconds + PAUSE for excerpt in window) - PAUSE


def spans(seconds: Sequence[float]) -> list[tuple[float, float]]:
    """(start, end) in seconds of each excerpt in its window, from the lengths of all."""
    ends = accumulate(seconds, initial=0.0)
    starts = [end + k * PAUSE for k, end in zip(range(len(seconds)), ends, strict=False)]
    return [(start, start + length) for start, length in zip(starts, seconds, strict=True)]


def join(parts: Sequence[Samples]) -> Samples:
    """The samples [n] of a window from those of its excerpts."""
    silence = np.zeros(round(PAUSE * SAMPLE_RATE), np.float32)
    return np.concatenate([samples for part in parts for samples in (part, silence)][:-1])


def owner(start: float, end: float, spans: Sequence[tuple[float, float]]) -> int:
    """The excerpt to which a word belongs: the one that contains most of it, or the nearest.

    Pauses don't count, because the recogniser stretches words into them.
    """

    def overlap(k: int) -> float:
        return min(end, spans[k][1]) - max(start, spans[k][0])

    return max(range(len(spans)), key=overlap)
