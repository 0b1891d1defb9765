"""One window of one track: from samples to segments of speakers that are known inside the window."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.diarize.clustering import Vectors, Voices, nearest, unit, voices_in
from stages.diarize.embedding import PIECE, SpeakerEmbedding
from stages.diarize.segmentation import Activity, Segmentation
from stages.stage import SAMPLE_RATE, Samples

SOMEBODY = -1
"""Who speaks in an overlap but nowhere alone, so that no voice is known."""
TELLING = 0.5
"""Seconds from which a piece has a say in what a voice is."""
NEARBY = 60
"""Frames, about a second."""
CONTEXT_SHARE = 0.2
"""Share of a chunk that a local speaker talks alone for its context to count, as in pyannote."""


@dataclass(frozen=True)
class Heard:
    """Segments of the speakers of a window, and the voice of each."""

    segments: list[tuple[float, float, int]]
    """Start and end in seconds from the start of the window, and the index of the voice or `SOMEBODY`."""
    voices: Voices


class WindowDiarizer:
    """segmentation-3.0 finds speech, changes and overlaps; CAM++ says who it is."""

    def __init__(self, segmentation: Segmentation, embedding: SpeakerEmbedding, same_speaker: float) -> None:
        self._segmentation = segmentation
        self._embedding = embedding
        self._same_speaker = same_speaker

    def __call__(self, samples: Samples, fewest: int, most: int | None) -> Heard | None:
        """What is heard in samples [n] at 16 kHz; None where nobody speaks."""
        activity = self._segmentation(samples)
        if most is not None:
            activity = replace(activity, count=np.minimum(activity.count, most))
        pieces = _pieces(activity)
        times = activity.seconds(pieces)
        cut = [samples[round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)] for a, b in times]
        embeddings = self._embedding(cut)
        known = ~np.isnan(embeddings[:, 0])
        if not known.any():
            return None
        seconds = times[:, 1] - times[:, 0]
        telling = known & (seconds >= TELLING)
        if not telling.any():
            telling = known
        found = voices_in(
            _contexts(activity, pieces[telling], embeddings[telling]),
            embeddings[telling],
            seconds[telling] / PIECE,
            self._same_speaker,
            fewest,
            most,
        )
        label = _labels(pieces, embeddings, known, found.centroids)
        active = _active(activity, pieces, label, len(found))
        return Heard(_segments(activity, active, len(samples) / SAMPLE_RATE), found)


def _pieces(activity: Activity) -> NDArray[np.int64]:
    """Stretches of frames [n, 2] with one speaker, cut where the local speaker changes and at `PIECE`."""
    chunk = activity.nearest_chunk()
    frames = np.arange(len(activity.count))
    local = activity.local[chunk, np.clip(frames - activity.first[chunk], 0, activity.local.shape[1] - 1)]
    who = np.where(local.sum(axis=1) == 1, local.argmax(axis=1), -1)
    single = activity.count == 1
    begins = single & ~np.r_[False, single[:-1]]
    # A change is seen only inside a chunk: the next one numbers its speakers anew.
    changes = np.r_[
        False, (who[1:] != who[:-1]) & (who[1:] >= 0) & (who[:-1] >= 0) & (chunk[1:] == chunk[:-1])
    ]
    starts = np.flatnonzero(begins | (single & changes))
    ends = np.flatnonzero(np.r_[single[:-1] & (~single | begins | changes)[1:], single[-1:]]) + 1
    pieces: list[NDArray[np.int64]] = [np.empty((0, 2), dtype=np.int64)]
    for start, end in zip(starts, ends, strict=True):
        parts = max(1, int(np.ceil((end - start) * activity.step / PIECE)))
        edges = np.rint(np.linspace(start, end, parts + 1)).astype(np.int64)
        pieces.append(np.stack([edges[:-1], edges[1:]], axis=1))
    return np.concatenate(pieces)


def _contexts(activity: Activity, pieces: NDArray[np.int64], embeddings: Vectors) -> Vectors:
    """Mean embeddings [m, d] of what each local speaker says alone in each chunk."""
    found, shares = [], []
    frames = activity.local.shape[1]
    for local, first in zip(activity.local, activity.first, strict=True):
        alone = local & (local.sum(axis=1, keepdims=True) == 1)
        ahead = np.concatenate([np.zeros((1, local.shape[1]), dtype=np.int64), alone.cumsum(axis=0)])
        inside = np.clip(pieces - first, 0, frames)
        own = ahead[inside[:, 1]] - ahead[inside[:, 0]]
        own = own * (own >= 0.5 * (pieces[:, 1:] - pieces[:, :1]))
        for k in np.flatnonzero(own.any(axis=0)):
            found.append((embeddings * own[:, k : k + 1]).sum(axis=0))
            shares.append(alone[:, k].mean())
    if not found:
        return unit(embeddings.sum(axis=0, keepdims=True))
    enough = np.array(shares) >= CONTEXT_SHARE
    return unit(np.array(found)[enough if enough.any() else slice(None)])


def _labels(
    pieces: NDArray[np.int64], embeddings: Vectors, known: NDArray[np.bool_], centroids: Vectors
) -> NDArray[np.int64]:
    """The speaker of each piece [n]; one too short to be known goes with its nearest neighbour."""
    label = np.zeros(len(pieces), dtype=np.int64)
    label[known] = nearest(embeddings[known], centroids)
    middle = pieces.mean(axis=1)
    for i in np.flatnonzero(~known):
        label[i] = label[known][np.abs(middle[known] - middle[i]).argmin()]
    return label


def _active(
    activity: Activity, pieces: NDArray[np.int64], label: NDArray[np.int64], speakers: int
) -> NDArray[np.bool_]:
    """Who is active in every frame, [frames, speakers + 1], the last one `SOMEBODY`."""
    active = np.zeros((len(activity.count), speakers + 1), dtype=bool)
    for (start, end), speaker in zip(pieces, label, strict=True):
        active[start:end, speaker] = True
    alone = active.copy()
    chunk = activity.nearest_chunk()
    over = activity.count >= 2
    border = np.r_[True, (over[1:] != over[:-1]) | (chunk[1:] != chunk[:-1]), True]
    edges = np.flatnonzero(border).tolist()
    for start, end in itertools.pairwise(edges):
        if over[start]:
            active[start:end, _overlapping(activity, alone, int(chunk[start]), start, end)] = True
    return active


def _overlapping(activity: Activity, alone: NDArray[np.bool_], chunk: int, start: int, end: int) -> list[int]:
    """The two speakers of an overlap: local speakers are who they are when they speak alone."""
    first = int(activity.first[chunk])
    local = activity.local[chunk][: len(alone) - first]
    solo = local & (local.sum(axis=1, keepdims=True) == 1)
    votes = solo.T.astype(np.int64) @ alone[first : first + len(local)].astype(np.int64)
    here = local[max(0, start - first) : end - first].sum(axis=0)
    chosen: list[int] = []
    for k in np.argsort(-here, kind="stable")[:2]:
        vote = votes[k].copy()
        vote[chosen] = 0
        if here[k] and vote.any():
            chosen.append(int(vote.argmax()))
    if not chosen:
        nearby = alone[max(0, start - NEARBY) : end + NEARBY].sum(axis=0)
        chosen.append(int(nearby.argmax()))
    if len(chosen) < 2:
        chosen.append(SOMEBODY)
    return chosen


def _segments(
    activity: Activity, active: NDArray[np.bool_], seconds: float
) -> list[tuple[float, float, int]]:
    """Stretches of activity in order of start."""
    found = []
    for speaker in [*range(active.shape[1] - 1), SOMEBODY]:
        edge = np.diff(np.r_[0, active[:, speaker].astype(np.int8), 0])
        for start, end in zip(np.flatnonzero(edge == 1), np.flatnonzero(edge == -1), strict=True):
            found.append(
                (float(activity.seconds(start)), min(float(activity.seconds(end)), seconds), speaker)
            )
    return sorted(found)
