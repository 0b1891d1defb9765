"""Pitch and energy of a semantic code, as a few levels each.

Pitch is relative to the median of the utterance, so that it holds the melody and not who speaks; energy is
absolute in an utterance that was scaled to its peak, so that it holds how loud speech was meant.
"""

import numpy as np
from numpy.typing import NDArray

from stages.stage import Samples
from stages.tokenize.acoustics import FRAME, pitch

PITCHES = 8
"""Level 0 is unvoiced, 1 to 7 are low to high."""
STEP = 0.2
"""Octaves between two levels of pitch: 2.4 semitones."""
VOICED, AUDIBLE = 0.6, -30.0
"""Periodicity, and energy in dB relative to full scale, from which a frame is voiced."""
SPREAD = 3
"""Frames over which the periodicity is smoothed by its median, so that single frames don't flip."""
FLOORS = (-34.0, -24.0, -16.0)
"""Energies in dB relative to full scale that divide the levels of energy."""
ENERGIES = len(FLOORS) + 1

Levels = NDArray[np.int64]


def pitch_levels(samples: Samples) -> Levels:
    """Levels [n // 640] of samples [n] at 16 kHz."""
    # Exponent 2: under 20 dB of white noise 92 % of the levels stay, with 1 it is 77 %.
    octaves, periodicity = pitch(samples, exponent=2.0)
    if not len(octaves):
        return np.zeros(0, np.int64)
    padded = np.pad(periodicity, SPREAD // 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, SPREAD), axis=1)
    voiced = (smooth >= VOICED) & (energies(samples) >= AUDIBLE)
    if not voiced.any():
        return np.zeros(len(octaves), np.int64)
    middle = (PITCHES - 1) // 2
    relative = np.rint((octaves - np.median(octaves[voiced])) / STEP).astype(np.int64)
    return np.where(voiced, relative.clip(-middle, middle) + middle + 1, 0)


def energy_levels(samples: Samples) -> Levels:
    """Levels [n // 640] of samples [n] at 16 kHz."""
    return np.digitize(energies(samples), FLOORS).astype(np.int64)


def energies(samples: Samples) -> NDArray[np.float64]:
    """Root mean squares [n // 640] in dB relative to full scale."""
    count = len(samples) // FRAME
    frames = samples[: count * FRAME].reshape(count, FRAME).astype(np.float64)
    decibels: NDArray[np.float64] = 10 * np.log10(np.maximum((frames**2).mean(axis=1), 1e-10))
    return decibels
