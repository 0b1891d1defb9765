"""Measures of how a voice is used, from its pitch track: sung, whispered, shouted."""

import numpy as np
from numpy.typing import NDArray

from stages.quality.pitch import MIN_VOICED_FRAMES
from stages.stage import SAMPLE_RATE, Samples

SUSTAINED_FRAMES = 30
"""Length of a stretch, in frames of 10 ms, whose pitch is sustained if it stays within `SUSTAINED_RANGE`."""
SUSTAINED_RANGE = 1.0
"""Semitones between the lowest and the highest pitch of such a stretch: 50 cents about its middle."""

MELODY_FRAMES = 4
"""Frames of 10 ms for each value of a melody."""
A4 = (440.0, 69)
"""Hz, and the number that MIDI gives it."""

_WINDOW = 512
"""Samples of a spectrum, centred on its frame."""
_LOW = (50.0, 1000.0)
_HIGH = (1000.0, 5000.0)
"""Hz of the two bands of the alpha ratio."""


def voiced_share(hz: Samples) -> float:
    """Share of frames with a pitch, from frequencies [frames] in Hz, 0 where unvoiced; low in a whisper."""
    return float(np.mean(hz > 0)) if len(hz) else 0.0


def sustained_share(hz: Samples) -> float | None:
    """Share of voiced frames [frames] that lie in a stretch of sustained pitch; None if too few are voiced.

    Speech glides from syllable to syllable, and song holds notes.
    """
    voiced = hz > 0
    if voiced.sum() < MIN_VOICED_FRAMES:
        return None
    held = np.zeros(len(hz), bool)
    if len(hz) >= SUSTAINED_FRAMES:
        pitch = np.where(voiced, semitones(hz), np.inf)
        stretches = np.lib.stride_tricks.sliding_window_view(pitch, SUSTAINED_FRAMES)
        highest, lowest = stretches.max(axis=1), stretches.min(axis=1)
        for start in np.flatnonzero(highest <= lowest + SUSTAINED_RANGE):
            held[start : start + SUSTAINED_FRAMES] |= np.isfinite(highest[start])
    return float(held.sum() / voiced.sum())


def alpha_ratio(samples: Samples, hz: Samples) -> float | None:
    """Level of 1 to 5 kHz over that of 50 to 1000 Hz, in dB, in the voiced frames of samples [n] at 16 kHz.

    It rises with vocal effort, whatever the gain of the recording (Frokjaer-Jensen and Prytz, 1976). None if
    too few frames of `hz` [frames of 10 ms] are voiced.
    """
    centres = np.flatnonzero(hz > 0) * (SAMPLE_RATE // 100)
    if len(centres) < MIN_VOICED_FRAMES:
        return None
    padded = np.pad(samples, _WINDOW // 2 + 1)
    centres = centres[centres + _WINDOW <= len(padded)]
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[centres]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW).astype(np.float32), axis=1)) ** 2
    frequency = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    high, low = (
        float(power[:, (frequency >= first) & (frequency < last)].sum()) for first, last in (_HIGH, _LOW)
    )
    return 10 * float(np.log10(high / low)) if high > 0 and low > 0 else None


def melody(hz: Samples) -> tuple[float, ...]:
    """Pitch of every 40 ms of frequencies [frames] in Hz, as MIDI numbers to a tenth; 0 where unvoiced.

    Of the four frames, two or more must be voiced; their median counts.
    """
    whole = hz[: len(hz) // MELODY_FRAMES * MELODY_FRAMES].reshape(-1, MELODY_FRAMES)
    return tuple(
        round(float(np.median(semitones(frames[frames > 0]))), 1)
        if np.count_nonzero(frames) * 2 >= MELODY_FRAMES
        else 0.0
        for frames in whole
    )


def semitones(hz: Samples) -> NDArray[np.float64]:
    """Frequencies in Hz as MIDI numbers, with fractions; 69 is A4."""
    frequency, number = A4
    return number + 12 * np.log2(np.maximum(hz, 1.0, dtype=np.float64) / frequency)
