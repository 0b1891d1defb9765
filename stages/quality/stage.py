"""The quality stage: how every turn sounds."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from schemas.recording import Problem, QualityColumn, QualityMeasures, Recording, Transcript, Unit
from schemas.script import UNSPACED_LETTER
from stages.quality.config import QualityConfig
from stages.stage import SAMPLE_RATE, AudioSource, Samples, each_recording, problem_of

FULL_SCALE = 32766 / 32768
"""From here on a sample of the 16-bit spool is clipped."""

LOUDNESS_BLOCK = 0.4
"""Seconds; BS.1770 measures nothing shorter."""

LEAST_SPEECH = 0.1
"""Seconds of speech from which a rate means something."""


class QualityStage:
    """Fills `Recording.quality` for the turns that have a transcript."""

    name = "quality"
    version = 1

    def __init__(
        self, config: QualityConfig, audio: AudioSource, models: Mapping[str, Path], threads: int = 1
    ) -> None:
        self._config = config
        self._audio = audio
        self._models = models
        self._threads = threads

    def setup(self) -> None:
        """Load voice activity, DNSMOS and the pitch tracker."""
        import torch
        from silero_vad.sequence_vad import SileroVADSequence

        from stages.quality.dnsmos import Dnsmos
        from stages.quality.pitch import PitchTracker

        torch.set_num_threads(1)
        self._vad = SileroVADSequence(str(self._models[self._config.vad]))
        self._quality = Dnsmos(self._models[self._config.quality])
        self._pitch = PitchTracker(self._models[self._config.pitch])

    def __call__(self, unit: Unit) -> Unit:
        return each_recording(unit, self._assess, lambda p: QualityColumn((), p), self.name, self._threads)

    def _assess(self, recording: Recording) -> QualityColumn:
        found: list[QualityMeasures | None] = [None] * len(recording.turns)
        problems: list[Problem] = []
        transcripts = recording.transcribe.turns if recording.transcribe else ()
        for index in recording.live_turns():
            turn = recording.turns[index]
            samples = self._audio.read(recording, turn.track, turn.start, turn.end)
            try:
                found[index] = self._measure(samples, transcripts[index])
            except Exception as error:
                problems.append(problem_of(error, index))
        return QualityColumn(tuple(found), tuple(problems))

    def _measure(self, samples: Samples, transcript: Transcript | None) -> QualityMeasures:
        speech = self._speech(samples)
        quality = self._quality.score(samples)
        pitch = self._pitch.track(samples)
        return QualityMeasures(
            dnsmos_overall=quality.overall,
            dnsmos_signal=quality.signal,
            dnsmos_background=quality.background,
            clipped_share=float(np.mean(np.abs(samples) >= FULL_SCALE)),
            speech_share=speech / (len(samples) / SAMPLE_RATE),
            words_per_second=rate_of(transcript, speech),
            pitch_median_hz=pitch.median_hz if pitch else None,
            pitch_range_semitones=pitch.range_semitones if pitch else None,
            loudness_lufs=loudness(samples),
        )

    def _speech(self, samples: Samples) -> float:
        """Seconds in which the VAD hears speech."""
        from silero_vad.sequence_vad import get_speech_timestamps_sequence

        found = get_speech_timestamps_sequence(samples, self._vad)
        return float(sum(s["end"] - s["start"] for s in found) / SAMPLE_RATE)


def rate_of(transcript: Transcript | None, speech: float) -> float | None:
    """Words a second of `speech` seconds; two characters make a word in languages without spaces."""
    if transcript is None or speech < LEAST_SPEECH:
        return None
    spaced, unspaced = UNSPACED_LETTER.subn(" ", transcript.text)
    return (len(spaced.split()) + unspaced / 2) / speech


def loudness(samples: Samples) -> float | None:
    """Integrated loudness (ITU-R BS.1770-4) in LUFS; None under 0.4 s or below its gate."""
    import torch
    from torchaudio.functional import loudness as integrated

    if len(samples) < LOUDNESS_BLOCK * SAMPLE_RATE:
        return None
    value = float(integrated(torch.from_numpy(samples)[None], SAMPLE_RATE))
    return value if math.isfinite(value) else None
