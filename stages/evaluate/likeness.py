"""How like the original it sounds: pitch and spectrum, frame by frame. Sounds are equally long."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

LEAST = 10
"""Frames voiced in both; fewer say nothing about how pitch moves."""
DECIBELS = 20 / math.log(10)
"""Of a natural logarithm of a magnitude."""


def f0_correlation(original_hz: Floats, other_hz: Floats) -> float | None:
    """Pearson's correlation of log F0 over the frames that are voiced in both (F0 [frames] in Hz, 0 where
    unvoiced); None where these are few, or one of them never moves."""
    original_hz, other_hz = _equally_long(original_hz, other_hz)
    both = (original_hz > 0) & (other_hz > 0)
    if both.sum() < LEAST:
        return None
    a, b = (np.log(hz[both].astype(np.float64)) for hz in (original_hz, other_hz))
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / spread if spread > 1e-9 else None


def voicing_agreement(original_hz: Floats, other_hz: Floats) -> float:
    """Share of the frames that are voiced in both or in neither."""
    original_hz, other_hz = _equally_long(original_hz, other_hz)
    return float(np.mean((original_hz > 0) == (other_hz > 0)))


def mel_distance(original_mt: Floats, other_mt: Floats) -> float:
    """Mean difference of log mels [bands, frames], natural logarithms of magnitudes, in dB."""
    frames = min(original_mt.shape[1], other_mt.shape[1])
    return float(np.abs(original_mt[:, :frames] - other_mt[:, :frames]).mean()) * DECIBELS


def _equally_long(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Trackers round the number of frames."""
    frames = min(len(a), len(b))
    return a[:frames], b[:frames]
