"""Diarization of one window of one track, with speakers numbered within the window."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from schemas.recording import Segment
from stages.diarize.clustering import Vectors, VoiceClusters, cluster_pieces, nearest, unit
from stages.diarize.config import DiarizeConfig
from stages.diarize.doubt import doubts
from stages.diarize.embedding import PIECE, SpeakerEmbedding
from stages.diarize.pieces import VoicePieces
from stages.diarize.segmentation import Segmentation, SpeakerActivity
from stages.diarize.turns import joined
from stages.stage import SAMPLE_RATE, Samples
from stages.voice_activity import Stretch

UNKNOWN = -1
"""Index of a speaker who is only heard in overlaps, so that their voice is unknown."""
MIN_CLUSTERED_SECONDS = 0.5
"""Length in seconds from which a piece takes part in clustering."""
USUAL_SIMILARITY = 0.7
"""Cosine between two pieces of one voice in clear speech."""
MIN_COMPARED_SECONDS = 0.7
"""Length in seconds from which pieces are compared with the next one."""
NEARBY_FRAMES = 60
"""About one second."""
MIN_CONTEXT_SHARE = 0.2
"""Minimum share of a chunk in which a local speaker talks alone for it to be a context, as in pyannote."""


@dataclass(frozen=True)
class WindowDiarization:
    """Segments of a window, and the voices of its speakers."""

    segments: list[tuple[float, float, int]]
    """Start and end in seconds from the start of the window, and the index of the voice or `UNKNOWN`."""
    voices: VoiceClusters
    doubts: list[Stretch] = field(default_factory=list)
    """Where a turn may hold another voice than its speaker's, in order."""
    pieces: VoicePieces | None = None
    """Embeddings along the speech; None if they weren't computed."""


class WindowDiarizer:
    """Finds speech, speaker changes and overlaps by segmentation, and speakers by CAM++ embeddings."""

    def __init__(
        self, segmentation: Segmentation, embedding: SpeakerEmbedding, config: DiarizeConfig
    ) -> None:
        self._segmentation = segmentation
        self._embedding = embedding
        self._config = config

    def __call__(self, samples: Samples, fewest: int, most: int | None) -> WindowDiarization | None:
        """Diarization of samples [n] at 16 kHz with `fewest` to `most` speakers; None if nobody speaks."""
        activity = self._segmentation(samples)
        if most is not None:
            activity = replace(activity, count=np.minimum(activity.count, most))
        pieces = _pieces(activity)
        times = activity.seconds(pieces)
        cut = [samples[round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)] for a, b in times]
        embeddings = self._embedding(cut)
        valid = ~np.isnan(embeddings[:, 0])
        if not valid.any():
            return None
        seconds = times[:, 1] - times[:, 0]
        clustered = valid & (seconds >= MIN_CLUSTERED_SECONDS)
        if not clustered.any():
            clustered = valid
        voices = cluster_pieces(
            _contexts(activity, pieces[clustered], embeddings[clustered]),
            embeddings[clustered],
            seconds[clustered] / PIECE,
            self._config.same_speaker,
            _expected_similarity(activity, pieces, embeddings),
            fewest,
            most,
        )
        label = _labels(pieces, embeddings, valid, voices.centroids)
        active = _active(activity, pieces, label, len(voices))
        segments = _segments(activity, active, len(samples) / SAMPLE_RATE)
        named = [Segment(start, end, str(speaker), 0) for start, end, speaker in segments]
        return WindowDiarization(
            segments,
            voices,
            doubts(activity, joined(named, self._config.merge_pause), _unlocated(activity, pieces, label)),
            VoicePieces(times[clustered], embeddings[clustered]),
        )


def _pieces(activity: SpeakerActivity) -> NDArray[np.int64]:
    """First and end frames [n, 2] of pieces with one speaker, of at most `PIECE` seconds.

    They are cut where the local speaker changes.
    """
    single = activity.count == 1
    begins = single & ~np.r_[False, single[:-1]]
    changes = _changes(activity)
    starts = np.flatnonzero(begins | (single & changes))
    ends = np.flatnonzero(np.r_[single[:-1] & (~single | begins | changes)[1:], single[-1:]]) + 1
    pieces: list[NDArray[np.int64]] = [np.empty((0, 2), dtype=np.int64)]
    for start, end in zip(starts, ends, strict=True):
        parts = max(1, int(np.ceil((end - start) * activity.step / PIECE)))
        edges = np.rint(np.linspace(start, end, parts + 1)).astype(np.int64)
        pieces.append(np.stack([edges[:-1], edges[1:]], axis=1))
    return np.concatenate(pieces)


def _changes(activity: SpeakerActivity) -> NDArray[np.bool_]:
    """Whether the local speaker of each frame is another than that of the frame before, [frames]."""
    chunk = activity.nearest_chunk()
    frames = np.arange(len(activity.count))
    local = activity.local[chunk, np.clip(frames - activity.first[chunk], 0, activity.local.shape[1] - 1)]
    speaker = np.where(local.sum(axis=1) == 1, local.argmax(axis=1), -1)
    # Only within a chunk, since each chunk numbers its speakers independently.
    changed = (speaker[1:] != speaker[:-1]) & (speaker[1:] >= 0) & (speaker[:-1] >= 0)
    # Only within a chunk, since each chunk numbers its speakers independently.
    return np.asarray(np.concatenate([[False], changed & (chunk[1:] == chunk[:-1])]))


def _unlocated(
    activity: SpeakerActivity, pieces: NDArray[np.int64], label: NDArray[np.int64]
) -> Iterator[Stretch]:
    """Stretches in which a change of speaker is that the segmentation didn't hear.

    Pieces end there because they are long enough, so each may hold some of the other voice, up to its middle.
    """
    changes = np.r_[_changes(activity), True]
    for (_, end), (start, _), before, after, middle, next_middle in zip(
        pieces[:-1],
        pieces[1:],
        label[:-1],
        label[1:],
        pieces[:-1].mean(axis=1),
        pieces[1:].mean(axis=1),
        strict=True,
    ):
        if start == end and before != after and not changes[end]:
            yield (
                round(float(activity.seconds(middle)), 3),
                round(float(activity.seconds(next_middle)), 3),
            )


def _contexts(activity: SpeakerActivity, pieces: NDArray[np.int64], embeddings: Vectors) -> Vectors:
    """Mean embeddings [m, d] of the pieces that each local speaker of each chunk speaks alone."""
    contexts, shares = [], []
    frames = activity.local.shape[1]
    for local, first in zip(activity.local, activity.first, strict=True):
        alone = local & (local.sum(axis=1, keepdims=True) == 1)
        cumulative = np.concatenate([np.zeros((1, local.shape[1]), dtype=np.int64), alone.cumsum(axis=0)])
        inside = np.clip(pieces - first, 0, frames)
        own = cumulative[inside[:, 1]] - cumulative[inside[:, 0]]
        own = own * (own >= 0.5 * (pieces[:, 1:] - pieces[:, :1]))
        for k in np.flatnonzero(own.any(axis=0)):
            contexts.append((embeddings * own[:, k : k + 1]).sum(axis=0))
            shares.append(alone[:, k].mean())
    if not contexts:
        return unit(embeddings.sum(axis=0, keepdims=True))
    enough = np.array(shares) >= MIN_CONTEXT_SHARE
    return unit(np.array(contexts)[enough if enough.any() else slice(None)])


def _expected_similarity(activity: SpeakerActivity, pieces: NDArray[np.int64], embeddings: Vectors) -> float:
    """The cosine to expect between pieces of one voice in this recording.

    The median over pieces that follow each other without a change of speaker, and three of the usual value.
    """
    changes = np.r_[_changes(activity), True]
    long = (pieces[:, 1] - pieces[:, 0]) * activity.step >= MIN_COMPARED_SECONDS
    follows = (pieces[:-1, 1] == pieces[1:, 0]) & ~changes[pieces[:-1, 1]] & long[:-1] & long[1:]
    cosines = (embeddings[:-1] * embeddings[1:]).sum(axis=1)[follows]
    return float(np.median(np.r_[cosines[~np.isnan(cosines)], [USUAL_SIMILARITY] * 3]))


def _labels(
    pieces: NDArray[np.int64], embeddings: Vectors, valid: NDArray[np.bool_], centroids: Vectors
) -> NDArray[np.int64]:
    """The speaker of each piece, [n]. Pieces that are too short get the speaker of the nearest valid one."""
    label = np.zeros(len(pieces), dtype=np.int64)
    label[valid] = nearest(embeddings[valid], centroids)
    middle = pieces.mean(axis=1)
    for i in np.flatnonzero(~valid):
        label[i] = label[valid][np.abs(middle[valid] - middle[i]).argmin()]
    return label


def _active(
    activity: SpeakerActivity, pieces: NDArray[np.int64], label: NDArray[np.int64], speakers: int
) -> NDArray[np.bool_]:
    """Which speakers are active in each frame, [frames, speakers + 1]; the last column is `UNKNOWN`."""
    active = np.zeros((len(activity.count), speakers + 1), dtype=bool)
    for (start, end), speaker in zip(pieces, label, strict=True):
        active[start:end, speaker] = True
    alone = active.copy()
    chunk = activity.nearest_chunk()
    overlap = activity.count >= 2
    border = np.r_[True, (overlap[1:] != overlap[:-1]) | (chunk[1:] != chunk[:-1]), True]
    edges = np.flatnonzero(border).tolist()
    for start, end in itertools.pairwise(edges):
        if overlap[start]:
            active[start:end, _overlapping(activity, alone, int(chunk[start]), start, end)] = True
    return active


def _overlapping(
    activity: SpeakerActivity, alone: NDArray[np.bool_], chunk: int, start: int, end: int
) -> list[int]:
    """The two speakers of an overlap; local speakers are told apart by where they speak alone."""
    first = int(activity.first[chunk])
    local = activity.local[chunk][: len(alone) - first]
    solo = local & (local.sum(axis=1, keepdims=True) == 1)
    votes = solo.T.astype(np.int64) @ alone[first : first + len(local)].astype(np.int64)
    in_overlap = local[max(0, start - first) : end - first].sum(axis=0)
    chosen: list[int] = []
    for k in np.argsort(-in_overlap, kind="stable")[:2]:
        vote = votes[k].copy()
        vote[chosen] = 0
        if in_overlap[k] and vote.any():
            chosen.append(int(vote.argmax()))
    if not chosen:
        nearby = alone[max(0, start - NEARBY_FRAMES) : end + NEARBY_FRAMES].sum(axis=0)
        chosen.append(int(nearby.argmax()))
    if len(chosen) < 2:
        chosen.append(UNKNOWN)
    return chosen


def _segments(
    activity: SpeakerActivity, active: NDArray[np.bool_], seconds: float
) -> list[tuple[float, float, int]]:
    """(start, end, speaker) of the stretches of activity in order of start; times in seconds."""
    segments = []
    for speaker in [*range(active.shape[1] - 1), UNKNOWN]:
        edge = np.diff(np.r_[0, active[:, speaker].astype(np.int8), 0])
        for start, end in zip(np.flatnonzero(edge == 1), np.flatnonzero(edge == -1), strict=True):
            segments.append(
                (float(activity.seconds(start)), min(float(activity.seconds(end)), seconds), speaker)
            )
    return sorted(segments)
