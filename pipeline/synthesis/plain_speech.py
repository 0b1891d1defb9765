"""Measures of what a voice says plainly, with which the same words in a style are compared."""

from typing import Any

from pipeline.models import resolve
from stages.quality.config import FCPE, QualityConfig
from stages.quality.pitch import PitchTracker
from stages.quality.stage import loudness
from stages.quality.voice import voiced_share
from stages.stage import SAMPLE_RATE, Samples
from stages.synthesize.audio import SynthesizedAudio, resample


class PlainSpeech:
    """Measures utterances as the quality stage measures turns; used by several threads at once."""

    def __init__(self) -> None:
        from silero_vad.sequence_vad import SileroVADSequence

        self._vad = SileroVADSequence(str(resolve(QualityConfig().vad).path))
        self._pitch = PitchTracker(resolve(FCPE).path)

    def voicing(self, utterance: SynthesizedAudio) -> tuple[float, float]:
        """Shares of it that have a pitch, and that are speech."""
        samples = resample(utterance, SAMPLE_RATE)
        return voiced_share(self._pitch.hz(samples)), self._speech_seconds(samples) * SAMPLE_RATE / len(
            samples
        )

    def measures(self, utterance: SynthesizedAudio) -> dict[str, Any]:
        """`speech_seconds`, `pitch_median_hz`, `pitch_range_semitones` and `loudness_lufs`, those that are
        defined."""
        samples = resample(utterance, SAMPLE_RATE)
        pitch = self._pitch.track(samples)
        measures = {
            "speech_seconds": self._speech_seconds(samples),
            "pitch_median_hz": pitch.median_hz if pitch else None,
            "pitch_range_semitones": pitch.range_semitones if pitch else None,
            "loudness_lufs": loudness(samples),
        }
        return {name: round(float(value), 3) for name, value in measures.items() if value is not None}

    def _speech_seconds(self, samples: Samples) -> float:
        from silero_vad.sequence_vad import get_speech_timestamps_sequence

        speech = get_speech_timestamps_sequence(samples, self._vad)
        return float(sum(segment["end"] - segment["start"] for segment in speech) / SAMPLE_RATE)
