"""Changed copies of a voice's speech, as if other people had said it elsewhere, in time with the original.

A vocoder that learns from their tokens too says in its one voice what others say, in rooms and with noise.
"""

import numpy as np
from numpy.typing import NDArray

from stages.stage import SAMPLE_RATE, Samples

PITCH = (0.8, 1.45)
"""Range of the factor by which pitch and formants change."""
NOISE_DB = (8.0, 40.0)
"""Range of the level of the speech above that of the noise."""
REVERBERATION = (0.1, 0.45)
"""Range of the seconds in which a room's echo falls by 60 dB."""
DIRECT_DB = (2.0, 14.0)
"""Range of the level of the direct sound above that of the echo."""
TILT = 0.5
"""Largest weight of the sample before, by which the spectrum falls or rises."""
ROOM_SHARE, NOISE_SHARE, TILT_SHARE = 0.35, 0.6, 0.5
"""Shares of the copies with an echo, with noise and with a tilted spectrum."""

GRAIN, STEP, SEARCH = 480, 240, 120
"""Samples of a grain (30 ms), between grains, and by which a grain may be moved to match the one before."""


def changed(samples: Samples, generator: np.random.Generator) -> Samples:
    """A copy [n] of speech [n] at 16 kHz: another pitch and vocal tract, a room, a microphone and noise."""
    copy = shifted(samples, float(np.exp(generator.uniform(*np.log(PITCH)))))
    if generator.random() < ROOM_SHARE:
        copy = in_room(copy, generator)
    if generator.random() < TILT_SHARE:
        copy[1:] = copy[1:] + np.float32(generator.uniform(-TILT, TILT)) * copy[:-1]
    if generator.random() < NOISE_SHARE:
        copy = copy + noise_like(copy, generator)
    return copy.astype(np.float32, copy=False)


def shifted(samples: Samples, factor: float) -> Samples:
    """Speech [n] whose pitch and formants are multiplied by `factor`: played faster, then stretched back."""
    import soxr

    faster = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE)
    return stretched(faster, len(samples))


def stretched(samples: Samples, length: int) -> Samples:
    """Speech [m] in `length` samples at the same pitch: overlapping grains, each moved to where it continues
    the one before best (WSOLA, Verhelst and Roelands, 1993)."""
    window = np.hanning(GRAIN + 1)[:-1].astype(np.float32)
    grains = -(-length // STEP) + 1
    padded = np.pad(samples, (SEARCH + STEP, 2 * SEARCH + 2 * GRAIN))
    result = np.zeros((grains + 1) * STEP, np.float32)
    starts = np.round(np.arange(grains) * STEP * len(samples) / length).astype(int)
    continued = padded[SEARCH : SEARCH + GRAIN]
    for number, start in enumerate(starts):
        around = padded[start : start + GRAIN + 2 * SEARCH]
        scores = np.correlate(around, continued, "valid")
        energy = np.convolve(around * around, np.ones(GRAIN, np.float32), "valid")
        best = start + int((scores / np.sqrt(energy + 1e-6)).argmax())
        result[number * STEP : number * STEP + GRAIN] += window * padded[best : best + GRAIN]
        continued = padded[best + STEP : best + STEP + GRAIN]
    # The first grain is centred at the first sample.
    return result[STEP : STEP + length]


def in_room(samples: Samples, generator: np.random.Generator) -> Samples:
    """Speech [n] with an echo of noise that decays."""
    seconds = generator.uniform(*REVERBERATION)
    count = int(seconds * SAMPLE_RATE)
    decay = 10 ** (-3 * np.arange(count) / count)
    echo = generator.standard_normal(count) * decay
    echo *= 10 ** (-generator.uniform(*DIRECT_DB) / 20) / np.sqrt((echo**2).sum())
    echo[0] += 1
    size = 1 << (len(samples) + count - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)
    return np.asarray(product[: len(samples)], np.float32)


def noise_like(samples: Samples, generator: np.random.Generator) -> NDArray[np.float32]:
    """Noise [n] between white and brown, at a level relative to the speech."""
    spectrum = np.fft.rfft(generator.standard_normal(len(samples)))
    spectrum /= np.maximum(np.arange(len(spectrum)), len(spectrum) / 80) ** generator.uniform(0, 1)
    noise = np.fft.irfft(spectrum, len(samples))
    level = np.sqrt((samples**2).mean()) * 10 ** (-generator.uniform(*NOISE_DB) / 20)
    return np.asarray(noise * (level / max(float(noise.std()), 1e-9)), np.float32)
