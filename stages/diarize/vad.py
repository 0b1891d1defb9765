"""Removal of crosstalk between channels from what is heard as speech on each."""

import itertools

import numpy as np
from numpy.typing import NDArray

from stages.stage import SAMPLE_RATE, Samples
from stages.voice_activity import Stretch

MIN_LEVEL_DB = 10.0
MIN_CORRELATION = 0.5
"""A block of a channel is crosstalk from another that is louder by this many dB and correlated this much."""
BLOCK = 0.5
"""Length in seconds of the blocks from which the level of crosstalk is found."""
FRAME = 0.1
"""Length in seconds of the frames in which a channel's own speech is told from crosstalk."""
MIN_ABOVE_DB = 6.0
"""Decibels by which a channel's own speech is louder than its crosstalk."""
MAX_LAG = 0.03
"""Maximum delay of crosstalk in seconds, from a mouth to the far microphone."""


def without_crosstalk(
    stretches: list[Stretch], own: Samples, others: list[Samples], shortest: float = 0.25
) -> list[Stretch]:
    """The stretches of a channel's speech that are not crosstalk from louder channels.

    `own` and each of `others` are samples [n] at 16 kHz of the same span. Remaining stretches under
    `shortest` seconds are dropped.
    """
    gains = [_crosstalk_gain(stretches, own, other) for other in others]
    crosstalk = sum((gain * _energy(other) for gain, other in zip(gains, others, strict=True)), np.zeros(1))
    louder = _energy(own) > crosstalk * 10 ** (MIN_ABOVE_DB / 10)
    # The majority of three frames, so that no soft sound within a word counts as crosstalk.
    louder = np.convolve(np.pad(louder, 1, "edge"), np.ones(3), "valid") >= 2
    kept: list[Stretch] = []
    for start, end in stretches:
        first, last = int(start / FRAME), max(int(start / FRAME) + 1, round(end / FRAME))
        edge = np.diff(np.r_[0, louder[first:last].astype(np.int8), 0])
        for a, b in zip(np.flatnonzero(edge == 1), np.flatnonzero(edge == -1), strict=True):
            until = end if first + b >= last else (first + b) * FRAME
            kept.append((max(start, float(first + a) * FRAME), float(until)))
    return [(a, b) for a, b in kept if b - a >= min(shortest, BLOCK)]


def _crosstalk_gain(stretches: list[Stretch], own: Samples, other: Samples) -> float:
    """Energy of the crosstalk in `own` relative to the speech in `other`; 0 without crosstalk."""
    ratios = []
    for start, end in stretches:
        edges = np.linspace(start, end, max(1, round((end - start) / BLOCK)) + 1)
        for a, b in itertools.pairwise(edges):
            span = slice(round(a * SAMPLE_RATE), round(b * SAMPLE_RATE))
            if _leaks(other[span], own[span]):
                ratios.append(float(np.dot(own[span], own[span]) / np.dot(other[span], other[span])))
    return float(np.median(ratios)) if ratios else 0.0


def _energy(samples: Samples) -> NDArray[np.float64]:
    """Energy of each frame of `FRAME` seconds, [frames]; the last one is padded with silence."""
    size = round(FRAME * SAMPLE_RATE)
    padded = np.pad(samples, (0, -len(samples) % size)).astype(np.float64)
    return np.asarray((padded.reshape(-1, size) ** 2).sum(axis=1))


def _leaks(loud: Samples, quiet: Samples) -> bool:
    """Whether `quiet` is crosstalk from `loud`: much weaker, and correlated with it at a short delay."""
    energy = float(np.dot(loud, loud)), float(np.dot(quiet, quiet))
    if energy[1] == 0 or energy[0] < energy[1] * 10 ** (MIN_LEVEL_DB / 10):
        return False
    size = 1 << (len(loud) + len(quiet)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(quiet, size) * np.conj(np.fft.rfft(loud, size)), size)
    lag = round(MAX_LAG * SAMPLE_RATE)
    peak = max(np.abs(correlation[: lag + 1]).max(), np.abs(correlation[-lag:]).max())
    return bool(peak >= MIN_CORRELATION * np.sqrt(energy[0] * energy[1]))
