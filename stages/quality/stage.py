"""The quality stage: speech quality, pitch, speaking rate and loudness of every turn."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from schemas.recording import (
    HeardLabel,
    Problem,
    QualityColumn,
    QualityMeasures,
    Recording,
    Transcript,
    Unit,
)
from schemas.script import UNSPACED_LETTER
from schemas.speech_marks import without_marks
from stages.audio_classifier import BATCH
from stages.quality.config import QualityConfig
from stages.quality.pitch import pitch_of
from stages.quality.song import SongMeasures, song_measures
from stages.quality.voice import alpha_ratio, melody, sustained_share, voiced_share
from stages.stage import SAMPLE_RATE, Samples, Stage
from stages.voice_activity import VoiceActivity

CLIPPED = 32766 / 32768
"""Magnitude, of full scale at 1.0, from which a sample of the 16-bit spool counts as clipped."""

MIN_LOUDNESS_SECONDS = 0.4
"""Length in seconds of one gating block of BS.1770, the shortest audio that it defines a loudness for."""

WORD_MARGIN = 0.1
"""Seconds around a word in which speech counts as its own: recognisers' times are no more exact."""

MIN_SPEECH_SECONDS = 0.1
"""Speech in seconds below which a speaking rate is meaningless."""


class QualityStage(Stage[QualityConfig]):
    """Fills `Recording.quality`: measures every live turn. It judges none, which is left to select."""

    name = "quality"
    version = 5

    def _load_models(self) -> None:
        """Load voice activity detection, and DNSMOS and the pitch tracker if they are wanted."""
        import torch

        from stages.quality.dnsmos import Dnsmos
        from stages.quality.ears import TurnEars
        from stages.quality.pitch import PitchTracker

        torch.set_num_threads(1)
        self._vad = VoiceActivity(self._models[self._config.vad])
        dnsmos, pitch = self._config.quality, self._config.pitch
        self._dnsmos = Dnsmos(self._models[dnsmos], self._config.device) if dnsmos else None
        self._pitch = PitchTracker(self._models[pitch], self._config.device) if pitch else None
        self._ears = TurnEars(self._config.ears, self._models, self._config.device)

    def __call__(self, unit: Unit) -> Unit:
        return self._each_recording(unit, self._measure_turns, lambda problems: QualityColumn((), problems))

    def _measure_turns(self, recording: Recording) -> QualityColumn:
        """Measures of every live turn. A turn that can't be measured is set aside, the others are kept."""
        measures: list[QualityMeasures | None] = [None] * len(recording.turns)
        problems: list[Problem] = []
        transcripts = recording.transcribe.turns if recording.transcribe else ()
        live = list(recording.live_turns())
        for first in range(0, len(live), BATCH):  # the samples of so many turns are in memory
            several = [(index, recording.turns[index]) for index in live[first : first + BATCH]]
            read = [self._audio.read(recording, turn.track, turn.start, turn.end) for _, turn in several]
            for (index, turn), samples, heard in zip(several, read, self._ears.each(read), strict=True):
                try:
                    measured = self._measure(samples, turn.start, transcripts[index], recording.sings)
                    measures[index] = replace(measured, heard=_found(heard))
                except Exception as error:
                    problems.append(self._problem_of(error, index))
        return QualityColumn(tuple(measures), tuple(problems))

    def _measure(
        self, samples: Samples, start: float, transcript: Transcript | None, sings: bool
    ) -> QualityMeasures:
        """Measures of one turn, but for what ears hear, from its samples [n], its start in the recording, its
        transcript, and whether it is of a song."""
        segments = self._vad.speech(samples, sings)
        speech = sum(end - begin for begin, end in segments)
        scores = self._dnsmos.score(samples) if self._dnsmos else None
        measures = QualityMeasures(
            dnsmos_overall=scores.overall if scores else None,
            dnsmos_signal=scores.signal if scores else None,
            dnsmos_background=scores.background if scores else None,
            clipped_share=float(np.mean(np.abs(samples) >= CLIPPED)),
            speech_share=speech / (len(samples) / SAMPLE_RATE),
            words_per_second=words_per_second(transcript, speech),
            pitch_median_hz=None,
            pitch_range_semitones=None,
            loudness_lufs=loudness(samples),
            words_outside_speech=words_outside(
                transcript,
                [(start + begin, start + end) for begin, end in segments],
            ),
        )
        return (
            self._with_pitch(measures, samples, self._pitch.hz(samples), sings) if self._pitch else measures
        )

    def _with_pitch(
        self, measures: QualityMeasures, samples: Samples, hz: Samples, sings: bool
    ) -> QualityMeasures:
        """The measures with those of the pitch `hz` [frames of 10 ms]."""
        pitch = pitch_of(hz)
        song = song_measures(samples, hz) if sings else SongMeasures()
        return replace(
            measures,
            pitch_median_hz=pitch.median_hz if pitch else None,
            pitch_range_semitones=pitch.range_semitones if pitch else None,
            voiced_share=voiced_share(hz),
            sustained_share=sustained_share(hz),
            alpha_ratio_db=alpha_ratio(samples, hz),
            melody=melody(hz) if self._config.melody else None,
            key=song.key,
            tempo_bpm=song.tempo_bpm,
            vibrato_hz=song.vibrato_hz,
            vibrato_cents=song.vibrato_cents,
        )


def _found(heard: tuple[HeardLabel, ...] | Exception) -> tuple[HeardLabel, ...]:
    if isinstance(heard, Exception):
        raise heard
    return heard


def words_outside(transcript: Transcript | None, speech: Sequence[tuple[float, float]]) -> float | None:
    """Share of the words without speech within `WORD_MARGIN`; None without words that have times."""
    words = [word for word in transcript.words if without_marks(word.text)] if transcript else []
    if not words:
        return None
    outside = [
        word
        for word in words
        if not any(start < word.end + WORD_MARGIN and word.start - WORD_MARGIN < end for start, end in speech)
    ]
    return len(outside) / len(words)


def words_per_second(transcript: Transcript | None, speech: float) -> float | None:
    """Words per second of speech, given the seconds of speech; None without a transcript or speech.

    In scripts without spaces, two characters count as one word, and so do two digits: "2813" is spoken as two
    to four words. Marks, such as [Laughter], are none.
    """
    if transcript is None or speech < MIN_SPEECH_SECONDS:
        return None
    spaced, unspaced = UNSPACED_LETTER.subn(" ", without_marks(transcript.text))
    words = sum(max(1, -(-sum(map(str.isdigit, word)) // 2)) for word in spaced.split())
    return (words + unspaced / 2) / speech


def loudness(samples: Samples) -> float | None:
    """Integrated loudness (ITU-R BS.1770-4) in LUFS of samples [n]; None below 0.4 s or below its gate."""
    import torch
    from torchaudio.functional import loudness as integrated_loudness

    if len(samples) < MIN_LOUDNESS_SECONDS * SAMPLE_RATE:
        return None
    lufs = float(integrated_loudness(torch.from_numpy(samples)[None], SAMPLE_RATE))
    return lufs if math.isfinite(lufs) else None
