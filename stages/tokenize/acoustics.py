"""Acoustic features besides the encoder states: log-mel spectrum and pitch per 40 ms, for the vocoder."""

import numpy as np
from numpy.typing import NDArray

from stages.stage import SAMPLE_RATE, Samples

FRAME = 640
"""Samples of a semantic frame (40 ms)."""
MEL_FRAMES = 4
"""Frames of the log-mel spectrum per semantic frame."""
PITCH = 2
"""Size of the pitch features: octaves above MIDDLE_HZ if voiced, and the degree of voicing."""
RANGE = 1.25
"""Dynamic range of the spectrum: 50 dB below its peak, in the units of Whisper's log-mel spectrum. Anything
fainter is masked by the rest, but varies with noise."""

LOWEST_HZ, HIGHEST_HZ, MIDDLE_HZ = 60.0, 500.0, 140.0
STEPS = 24
"""Pitch candidates per octave, half a semitone apart."""
SPAN = 1024
"""Samples per autocorrelation: nearly four periods of the lowest pitch."""
HIGHEST_PARTIAL = 4_000.0
"""Frequency in Hz above which harmonics are ignored."""
UNVOICED, VOICED = 0.3, 0.7
"""Periodicity (1 is perfect) below which a frame is surely unvoiced, and above which it is surely voiced."""
JUMP = 0.5
"""Cost of a jump by one octave between two frames, in units of periodicity."""

Vectors = NDArray[np.float32]


def acoustics(samples: Samples, log_mel: Vectors) -> Vectors:
    """Features [n // 640, bands + 2] of samples [n] at 16 kHz, with their log-mel [bands, >= n // 160]."""
    count = len(samples) // FRAME
    audible = np.maximum(log_mel, log_mel.max() - RANGE)[:, : count * MEL_FRAMES]
    spectrum = audible.reshape(len(audible), count, MEL_FRAMES).mean(axis=2).T
    octaves, periodicity = pitch(samples)
    voicing = ((periodicity - UNVOICED) / (VOICED - UNVOICED)).clip(0, 1)
    pitch_features = np.stack([octaves * voicing, voicing / 2], axis=1)
    return np.concatenate([spectrum, pitch_features], axis=1, dtype=np.float32)


def pitch(samples: Samples, exponent: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pitch in octaves above MIDDLE_HZ and periodicity from 0 to 1 of samples [n] at 16 kHz, [n // 640] each.

    Autocorrelation of a Hann-windowed segment, divided by that of the window (Boersma, 1993), computed from a
    power of the amplitude spectrum. The exponent 1 gives a single strong harmonic less weight (Tolonen and
    Karjalainen, 2000), 2 gives less to noise. Pitch follows the path of high periodicity and few jumps.
    """
    count = len(samples) // FRAME
    if not count:
        return np.zeros(0), np.zeros(0)
    octaves = np.arange(int(np.log2(HIGHEST_HZ / LOWEST_HZ) * STEPS) + 1) / STEPS
    periodicity = _autocorrelation(samples, count, SAMPLE_RATE / (LOWEST_HZ * 2**octaves), exponent)
    path = _best_path(periodicity, JUMP * np.abs(octaves[:, None] - octaves[None]))
    return octaves[path] + np.log2(LOWEST_HZ / MIDDLE_HZ), periodicity[np.arange(count), path]


def _autocorrelation(
    samples: Samples, count: int, lags: NDArray[np.float64], exponent: float
) -> NDArray[np.float64]:
    """Autocorrelation of the segment around each frame at `lags` in samples, 0 to 1: [count, lags]."""
    padded = np.pad(samples, ((SPAN - FRAME) // 2, SPAN)).astype(np.float64)
    segments = np.lib.stride_tricks.sliding_window_view(padded, SPAN)[: count * FRAME : FRAME]
    window = np.hanning(SPAN + 1)[:-1]
    # Zero-padded to twice the length, so that the correlation doesn't wrap around.
    size = 2 * SPAN
    amplitudes = np.abs(np.fft.rfft((segments - segments.mean(axis=1, keepdims=True)) * window, size))
    amplitudes[:, int(HIGHEST_PARTIAL * size / SAMPLE_RATE) :] = 0
    products = np.fft.irfft(amplitudes**exponent)[:, :SPAN]
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)[:SPAN]
    relative = products / np.maximum(products[:, :1], 1e-9) / (of_window / of_window[0])
    below = lags.astype(int)
    share = lags - below
    interpolated: NDArray[np.float64] = relative[:, below] * (1 - share) + relative[:, below + 1] * share
    return interpolated.clip(0, 1)


def _best_path(score: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """The path with the highest sum of scores [frames, states] minus costs [states, states] of its steps."""
    best, back = score[0], np.zeros(score.shape, np.intp)
    for frame in range(1, len(score)):
        reached = best[:, None] - cost
        back[frame] = reached.argmax(axis=0)
        best = reached.max(axis=0) + score[frame]
    path = np.zeros(len(score), np.intp)
    path[-1] = best.argmax()
    for frame in range(len(score) - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return path
