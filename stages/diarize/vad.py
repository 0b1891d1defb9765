"""Voice activity by silero, the gate before everything else and the cutter of split channels."""

import itertools
from pathlib import Path

import numpy as np

from stages.stage import SAMPLE_RATE, Samples

Stretch = tuple[float, float]
"""Start and end in seconds."""

LOUDER_DB = 10.0
CORRELATED = 0.5
"""A channel leaks into another where it is this much louder there and the two waveforms agree."""
BLOCK = 0.5
MAX_LAG = 0.03
"""Seconds: blocks in which leakage is looked for, and the longest way from mouth to far microphone."""


class VoiceActivity:
    """silero VAD over whole blocks of frames: the stream model's own probabilities, without state."""

    def __init__(self, path: Path) -> None:
        from silero_vad.sequence_vad import SileroVADSequence

        self._model = SileroVADSequence(str(path))

    def speech(self, samples: Samples) -> list[Stretch]:
        """Stretches of speech in samples [n] at 16 kHz, in order."""
        from silero_vad.sequence_vad import get_speech_timestamps_sequence

        found = get_speech_timestamps_sequence(samples, self._model)
        return [(s["start"] / SAMPLE_RATE, s["end"] / SAMPLE_RATE) for s in found]


def without_crosstalk(
    stretches: list[Stretch], own: Samples, others: list[Samples], shortest: float = 0.25
) -> list[Stretch]:
    """What remains of a channel's speech when leakage from louder channels is taken out.

    `own` and each of `others` are samples [n] of the same time.
    """
    kept: list[Stretch] = []
    for start, end in stretches:
        edges = np.linspace(start, end, max(1, round((end - start) / BLOCK)) + 1)
        for a, b in itertools.pairwise(edges):
            span = slice(round(a * SAMPLE_RATE), round(b * SAMPLE_RATE))
            if any(_leaks(other[span], own[span]) for other in others):
                continue
            if kept and kept[-1][1] == a:
                kept[-1] = (kept[-1][0], float(b))
            else:
                kept.append((float(a), float(b)))
    return [(a, b) for a, b in kept if b - a >= min(shortest, BLOCK)]


def _leaks(loud: Samples, quiet: Samples) -> bool:
    """Whether `quiet` is an echo of `loud`: far weaker, and alike at some small lag."""
    energy = float(np.dot(loud, loud)), float(np.dot(quiet, quiet))
    if energy[1] == 0 or energy[0] < energy[1] * 10 ** (LOUDER_DB / 10):
        return False
    size = 1 << (len(loud) + len(quiet)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(quiet, size) * np.conj(np.fft.rfft(loud, size)), size)
    lag = round(MAX_LAG * SAMPLE_RATE)
    peak = max(np.abs(correlation[: lag + 1]).max(), np.abs(correlation[-lag:]).max())
    return bool(peak >= CORRELATED * np.sqrt(energy[0] * energy[1]))
