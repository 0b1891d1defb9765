"""Voice activity detection with Silero VAD, and removal of crosstalk between channels."""

import itertools
from pathlib import Path

import numpy as np

from stages.stage import SAMPLE_RATE, Samples

Stretch = tuple[float, float]
"""Start and end in seconds."""

MIN_LEVEL_DB = 10.0
MIN_CORRELATION = 0.5
"""Speech is crosstalk from another channel if that is louder by this many dB and correlated this much."""
BLOCK = 0.5
"""Length in seconds of the blocks in which crosstalk is searched for."""
MAX_LAG = 0.03
"""Maximum delay of crosstalk in seconds, from a mouth to the far microphone."""


class VoiceActivity:
    """Silero VAD on whole sequences: the same probabilities as the streaming model, without its state."""

    def __init__(self, path: Path) -> None:
        from silero_vad.sequence_vad import SileroVADSequence

        self._model = SileroVADSequence(str(path))

    def speech(self, samples: Samples) -> list[Stretch]:
        """Stretches of speech in samples [n] at 16 kHz, in order."""
        from silero_vad.sequence_vad import get_speech_timestamps_sequence

        segments = get_speech_timestamps_sequence(samples, self._model)
        return [(s["start"] / SAMPLE_RATE, s["end"] / SAMPLE_RATE) for s in segments]


def without_crosstalk(
    stretches: list[Stretch], own: Samples, others: list[Samples], shortest: float = 0.25
) -> list[Stretch]:
    """The stretches of a channel's speech that are not crosstalk from louder channels.

    `own` and each of `others` are samples [n] at 16 kHz of the same span. Remaining stretches under
    `shortest` seconds are dropped.
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
    """Whether `quiet` is crosstalk from `loud`: much weaker, and correlated with it at a short delay."""
    energy = float(np.dot(loud, loud)), float(np.dot(quiet, quiet))
    if energy[1] == 0 or energy[0] < energy[1] * 10 ** (MIN_LEVEL_DB / 10):
        return False
    size = 1 << (len(loud) + len(quiet)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(quiet, size) * np.conj(np.fft.rfft(loud, size)), size)
    lag = round(MAX_LAG * SAMPLE_RATE)
    peak = max(np.abs(correlation[: lag + 1]).max(), np.abs(correlation[-lag:]).max())
    return bool(peak >= MIN_CORRELATION * np.sqrt(energy[0] * energy[1]))
