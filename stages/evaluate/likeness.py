"""Frame-by-frame similarity of pitch and spectrum between original and generated speech of equal length."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

VOICED_FRAMES_MIN = 10
"""Minimum number of frames voiced in both signals for a meaningful correlation."""
DECIBELS_PER_NEPER = 20 / math.log(10)
"""Converts a natural logarithm of a magnitude to dB."""


def f0_correlation(original_hz: Floats, other_hz: Floats) -> float | None:
    """Pearson correlation of log F0 over the frames that are voiced in both signals.

    Args:
        original_hz: F0 [frames] in Hz, 0 in unvoiced frames.
        other_hz: F0 [frames] in Hz, 0 in unvoiced frames.

    Returns:
        The correlation, or None if fewer than `VOICED_FRAMES_MIN` frames are voiced in both signals or if one
        of them is constant.
    """
    original_hz, other_hz = _truncate_to_shorter(original_hz, other_hz)
    both = (original_hz > 0) & (other_hz > 0)
    if both.sum() < VOICED_FRAMES_MIN:
        return None
    a, b = (np.log(hz[both].astype(np.float64)) for hz in (original_hz, other_hz))
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / spread if spread > 1e-9 else None


def voicing_agreement(original_hz: Floats, other_hz: Floats) -> float:
    """Fraction of frames on whose voicing both signals agree (F0 [frames] in Hz, 0 in unvoiced frames)."""
    original_hz, other_hz = _truncate_to_shorter(original_hz, other_hz)
    return float(np.mean((original_hz > 0) == (other_hz > 0)))


def mel_distance(original_mt: Floats, other_mt: Floats) -> float:
    """Mean absolute difference in dB of log-mel spectrograms [bands, frames] (natural log of magnitudes)."""
    frames = min(original_mt.shape[1], other_mt.shape[1])
    return float(np.abs(original_mt[:, :frames] - other_mt[:, :frames]).mean()) * DECIBELS_PER_NEPER


def _truncate_to_shorter(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Cut both to the shorter length, since pitch trackers round the number of frames differently."""
    frames = min(len(a), len(b))
    return a[:frames], b[:frames]
