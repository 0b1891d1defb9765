"""Embeddings along turns: whether a turn is of one voice, and how clearly it is of its speaker."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from schemas.recording import Turn
from stages.diarize.clustering import Vectors, unit
from stages.diarize.embedding import PIECE, SpeakerEmbedding
from stages.stage import Samples

INSIDE = 0.6
"""Share of a piece that must be in a turn for it to tell of the turn's voice."""

READ_AT_ONCE = 64
"""Pieces whose audio is in memory at once."""


@dataclass(frozen=True)
class VoicePieces:
    """Embeddings of pieces of about `PIECE` seconds along the speech of a track."""

    times: NDArray[np.float64]
    """Start and end in seconds, [n, 2], in order."""
    embeddings: Vectors
    """Unit-length, [n, d]."""

    def within(self, turn: Turn) -> tuple[NDArray[np.float64], Vectors]:
        """Lengths in seconds [m] and embeddings [m, d] of the pieces of a turn."""
        near = slice(*np.searchsorted(self.times[:, 0], [turn.start - PIECE, turn.end]))
        start, end = self.times[near].T
        inside = np.minimum(end, turn.end) - np.maximum(start, turn.start)
        chosen = inside >= INSIDE * (end - start)
        return (end - start)[chosen], self.embeddings[near][chosen]


def along(
    turns: Iterable[Turn], embedding: SpeakerEmbedding, read: Callable[[int, float, float], Samples]
) -> dict[int, VoicePieces]:
    """Pieces of equal length along each turn, by track; turns that overlap others are left out.

    `read` returns the samples [n] of a track between two times in seconds.
    """
    times: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for turn in turns:
        if not turn.overlapped:
            edges = np.linspace(turn.start, turn.end, max(1, round(turn.seconds / PIECE)) + 1).tolist()
            times[turn.track] += pairwise(edges)
    pieces = {}
    for track, own in times.items():
        ordered = sorted(own)
        embeddings = np.concatenate(
            [
                embedding([read(track, start, end) for start, end in ordered[first : first + READ_AT_ONCE]])
                for first in range(0, len(ordered), READ_AT_ONCE)
            ]
        )
        valid = ~np.isnan(embeddings[:, 0])
        pieces[track] = VoicePieces(np.array(ordered)[valid], embeddings[valid])
    return pieces


def joined_pieces(windows: Sequence[tuple[float, VoicePieces]]) -> VoicePieces:
    """The pieces of all windows of a track, given with the start of each window in seconds."""
    return VoicePieces(
        np.concatenate([start + pieces.times for start, pieces in windows]),
        np.concatenate([pieces.embeddings for _, pieces in windows]),
    )


def voices_of(turns: Iterable[Turn], pieces: Mapping[int, VoicePieces]) -> dict[str, Vectors]:
    """Unit-length embedding [d] of each speaker's voice, by name, from the pieces of their turns."""
    sums: dict[str, Vectors] = {}
    for turn in turns:
        if not turn.overlapped and turn.track in pieces:
            seconds, embeddings = pieces[turn.track].within(turn)
            if len(seconds):
                sums[turn.speaker] = sums.get(turn.speaker, 0.0) + seconds @ embeddings
    return {speaker: unit(total) for speaker, total in sums.items()}


def measured(
    turns: Sequence[Turn], pieces: Mapping[int, VoicePieces], voices: Mapping[str, Vectors]
) -> tuple[Turn, ...]:
    """The turns with `voice_similarity` and `speaker_margin`, where they can be measured."""
    return tuple(
        turn if turn.overlapped or turn.track not in pieces else _measured(turn, pieces[turn.track], voices)
        for turn in turns
    )


def _measured(turn: Turn, pieces: VoicePieces, voices: Mapping[str, Vectors]) -> Turn:
    seconds, embeddings = pieces.within(turn)
    similarity = margin = None
    if len(seconds) > 1:
        rest = unit(seconds @ embeddings - seconds[:, None] * embeddings)
        similarity = round(float((embeddings * rest).sum(axis=1).min()), 3)
    others = [voice for speaker, voice in voices.items() if speaker != turn.speaker]
    if len(seconds) and others and turn.speaker in voices:
        own = unit(seconds @ embeddings)
        margin = round(float(own @ voices[turn.speaker] - max(own @ voice for voice in others)), 3)
    return replace(turn, voice_similarity=similarity, speaker_margin=margin)
