"""What is heard beside the words: log-mel spectrum and pitch of each 40 ms, for a vocoder to speak from."""

import numpy as np
from numpy.typing import NDArray

from stages.stage import SAMPLE_RATE, Samples

FRAME = 640
"""Samples of a semantic frame (40 ms)."""
MEL_FRAMES = 4
"""Frames of the log-mel spectrum in one of ours."""
PITCH = 2
"""Numbers that pitch is given in: octaves above MIDDLE_HZ where there is a voice, and how much of one."""
RANGE = 1.25
"""Of the spectrum below its loudest point that counts: 50 dB in the units of Whisper's spectrum. What is
fainter is hardly heard behind the rest, but would change with every noise."""

LOWEST_HZ, HIGHEST_HZ, MIDDLE_HZ = 60.0, 500.0, 140.0
STEPS = 24
"""Pitches tried in an octave: half a semitone apart."""
SPAN = 1024
"""Samples whose autocorrelation is taken: nearly four periods of the lowest pitch."""
HIGHEST_PARTIAL = 4_000.0
"""Hz above which no harmonic is counted on."""
UNVOICED, VOICED = 0.3, 0.7
"""How nearly periodic what is surely no voice and what surely is one (1: perfectly)."""
JUMP = 0.5
"""What a change by an octave from one frame to the next costs, as strength."""

Vectors = NDArray[np.float32]


def acoustics(samples: Samples, log_mel: Vectors) -> Vectors:
    """Of a window of samples [n] and its log-mel spectrum [bands, >= n // 160]: [n // 640, bands + 2]."""
    count = len(samples) // FRAME
    heard = np.maximum(log_mel, log_mel.max() - RANGE)[:, : count * MEL_FRAMES]
    spectrum = heard.reshape(len(heard), count, MEL_FRAMES).mean(axis=2).T
    height, strength = pitch(samples)
    voice = ((strength - UNVOICED) / (VOICED - UNVOICED)).clip(0, 1)
    return np.concatenate([spectrum, np.stack([height * voice, voice / 2], axis=1)], axis=1, dtype=np.float32)


def pitch(samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Octaves above MIDDLE_HZ and how nearly periodic the sound is (0 to 1), [n // 640] each.

    The autocorrelation of a Hann-windowed stretch, divided by the window's own (Boersma, 1993), of an
    amplitude spectrum rather than a power spectrum (Tolonen and Karjalainen, 2000: one strong harmonic then
    counts less), and the path through the window that is strong and does not jump.
    """
    count = len(samples) // FRAME
    if not count:
        return np.zeros(0), np.zeros(0)
    octaves = np.arange(int(np.log2(HIGHEST_HZ / LOWEST_HZ) * STEPS) + 1) / STEPS
    strength = _autocorrelation(samples, count, SAMPLE_RATE / (LOWEST_HZ * 2**octaves))
    path = _smoothest(strength, JUMP * np.abs(octaves[:, None] - octaves[None]))
    return octaves[path] + np.log2(LOWEST_HZ / MIDDLE_HZ), strength[np.arange(count), path]


def _autocorrelation(samples: Samples, count: int, lags: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the stretch around each frame at lags in samples, 0 to 1: [count, lags]."""
    around = np.pad(samples, ((SPAN - FRAME) // 2, SPAN)).astype(np.float64)
    stretches = np.lib.stride_tricks.sliding_window_view(around, SPAN)[: count * FRAME : FRAME]
    window = np.hanning(SPAN + 1)[:-1]
    # Twice as long, so that the end of a stretch is not multiplied with its beginning.
    size = 2 * SPAN
    amplitudes = np.abs(np.fft.rfft((stretches - stretches.mean(axis=1, keepdims=True)) * window, size))
    amplitudes[:, int(HIGHEST_PARTIAL * size / SAMPLE_RATE) :] = 0
    products = np.fft.irfft(amplitudes)[:, :SPAN]
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)[:SPAN]
    relative = products / np.maximum(products[:, :1], 1e-9) / (of_window / of_window[0])
    below = lags.astype(int)
    share = lags - below
    found: NDArray[np.float64] = relative[:, below] * (1 - share) + relative[:, below + 1] * share
    return found.clip(0, 1)


def _smoothest(score: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """The path with the highest sum of scores [frames, states] less its steps' costs [states, states]."""
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
