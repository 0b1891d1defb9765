"""Voice activity detection with Silero VAD."""

from pathlib import Path

from stages.stage import SAMPLE_RATE, Samples

Stretch = tuple[float, float]
"""Start and end in seconds."""

SPOKEN, SUNG = 0.5, 0.1
"""Probability of speech from which there is some. The network takes long sung vowels for something else."""


class VoiceActivity:
    """Silero VAD on whole sequences: the same probabilities as the streaming model, without its state."""

    def __init__(self, path: Path) -> None:
        from silero_vad.sequence_vad import SileroVADSequence

        self._model = SileroVADSequence(str(path))

    def speech(self, samples: Samples, sings: bool = False) -> list[Stretch]:
        """Stretches of speech, or of a song's voice, in samples [n] at 16 kHz, in order."""
        from silero_vad.sequence_vad import get_speech_timestamps_sequence

        threshold = SUNG if sings else SPOKEN
        segments = get_speech_timestamps_sequence(samples, self._model, threshold=threshold)
        return [(s["start"] / SAMPLE_RATE, s["end"] / SAMPLE_RATE) for s in segments]
