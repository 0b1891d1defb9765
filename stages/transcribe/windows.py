"""Windows: several turns of one recording share the half minute that the recogniser hears at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.recording import Turn
from stages.stage import SAMPLE_RATE, Samples

LIMIT = 29.5
"""Longest window in seconds; the recogniser's own is 30."""
PAUSE = 0.5
"""Seconds of silence between two turns of a window."""
MARGIN = 0.2
"""Seconds heard around a turn: diarization cuts close, and a word that lost its edge is misheard."""


@dataclass(frozen=True)
class Piece:
    """The stretch of sound heard for one turn: the turn and a little of what surrounds it."""

    turn: int
    """Index among the recording's turns."""
    track: int
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def pieces(turns: Sequence[Turn], live: Sequence[int]) -> list[Piece]:
    """A piece a live turn, reaching at most half way into the pause to a neighbour, live or not."""
    room: dict[int, tuple[float, float]] = {}
    for track in {turn.track for turn in turns}:
        here = [i for i, turn in enumerate(turns) if turn.track == track]
        before = -np.inf
        for i, following in zip(here, [*here[1:], None], strict=True):
            after = np.inf if following is None else turns[following].start
            room[i] = turns[i].start - before, after - turns[i].end
            before = max(before, turns[i].end)
    result = []
    for index in live:
        turn, (before, after) = turns[index], room[index]
        start = turn.start - min(MARGIN, max(0.0, before) / 2)
        end = turn.end + min(MARGIN, max(0.0, after) / 2)
        result.append(Piece(index, turn.track, max(0.0, start), end))
    return result


def pack(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Windows of consecutive pieces of one track each.

    Every piece stands in exactly one window, in its order; one that fills the limit stands alone.
    """
    windows: list[list[Piece]] = []
    latest: dict[int, list[Piece]] = {}
    for piece in pieces:
        window = latest.get(piece.track)
        if window is None or length([*window, piece]) > LIMIT:
            window = latest[piece.track] = []
            windows.append(window)
        window.append(piece)
    return windows


def length(window: Sequence[Piece]) -> float:
    """Seconds of a window, silence between its pieces included."""
    return sum(piece.seconds + PAUSE for piece in window) - PAUSE


def spans(seconds: Sequence[float]) -> list[tuple[float, float]]:
    """(start, end) in the window of each of its pieces, in seconds."""
    starts = [sum(seconds[:k]) + k * PAUSE for k in range(len(seconds))]
    return [(start, start + length) for start, length in zip(starts, seconds, strict=True)]


def join(sounds: Sequence[Samples]) -> Samples:
    """The samples of a window from those of its pieces."""
    silence = np.zeros(round(PAUSE * SAMPLE_RATE), np.float32)
    return np.concatenate([part for sound in sounds for part in (sound, silence)][:-1])


def owner(start: float, end: float, spans: Sequence[tuple[float, float]]) -> int:
    """The piece that a word belongs to: where most of it lies, or the nearest for one in a pause.

    Pauses do not count, because the recogniser stretches words into them.
    """

    def share(k: int) -> float:
        return min(end, spans[k][1]) - max(start, spans[k][0])

    return max(range(len(spans)), key=share)
