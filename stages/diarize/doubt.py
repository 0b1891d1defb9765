"""Where a turn may hold another voice than its speaker's.

There are two signs of it: the segmentation hears somebody else than the one local speaker to whom most of the
turn belongs, or the clustering changes the speaker where the segmentation heard no change, so that the moment
of the change is unknown.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from schemas.recording import Turn
from stages.diarize.segmentation import SpeakerActivity
from stages.voice_activity import Stretch

MOST_OTHERS = 0.22
"""Probability of another speaker above which a frame is doubtful."""
MARGIN_FRAMES = 3
"""Frames on each side of doubtful ones that are doubtful too: 50 ms."""
FEWEST_FRAMES = 6
"""Frames of a turn in a chunk from which the chunk can tell whose turn it is."""


def doubts(activity: SpeakerActivity, turns: Iterable[Turn], unlocated: Iterable[Stretch]) -> list[Stretch]:
    """Stretches in which another voice may be heard, in order and without overlaps.

    `turns` are those of one window, and `unlocated` the stretches in which a change of speaker is.
    """
    found = list(unlocated)
    for turn in turns:
        if not turn.overlapped:
            found += _other_voices(activity, turn)
    return _united(found)


def _other_voices(activity: SpeakerActivity, turn: Turn) -> list[Stretch]:
    first = max(0, round((turn.start - activity.offset) / activity.step))
    last = max(first + 1, round((turn.end - activity.offset) / activity.step))
    doubtful = _others(activity, first, last) > MOST_OTHERS
    doubtful = np.convolve(doubtful, np.ones(2 * MARGIN_FRAMES + 1), "same") > 0.5
    edges = np.diff(np.r_[0, doubtful[: last - first].astype(np.int8), 0])
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    times = [
        (round(float(activity.seconds(first + a)), 3), round(float(activity.seconds(first + b)), 3))
        for a, b in zip(starts, ends, strict=True)
    ]
    return [(max(a, turn.start), min(b, turn.end)) for a, b in times if b > turn.start and a < turn.end]


def _others(activity: SpeakerActivity, first: int, last: int) -> NDArray[np.float64]:
    """Probability of each frame from `first` to `last` that somebody else speaks: the mean over chunks.

    Each chunk has its own local speakers; the turn belongs to the one beside whom the fewest others speak.
    Frames count the less the closer they are to the edge of a chunk, where little context is heard.
    """
    length = activity.local.shape[1]
    total, weights = np.zeros(last - first), np.full(last - first, 1e-9)
    for others, begin in zip(activity.others, activity.first.tolist(), strict=True):
        start, end = max(first, begin), min(last, begin + length)
        if end - start < FEWEST_FRAMES:
            continue
        own = others[start - begin : end - begin].astype(np.float64)
        frames = np.arange(start - begin, end - begin)
        weight = np.minimum(frames + 1, length - frames)
        total[start - first : end - first] += weight * own[:, own.sum(axis=0).argmin()]
        weights[start - first : end - first] += weight
    return np.asarray(total / weights)


def _united(stretches: list[Stretch]) -> list[Stretch]:
    united: list[Stretch] = []
    for start, end in sorted(stretches):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((start, end))
    return united
