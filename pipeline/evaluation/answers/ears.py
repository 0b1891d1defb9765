"""What is heard in a spoken answer: words, language, rate, pitch, loudness, quality and voice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any

import numpy as np

from pipeline.evaluation.answers.exchange import SpokenAnswer
from pipeline.evaluation.speech_judge import SpeechJudge
from pipeline.models import resolve
from schemas.arrow import from_row, to_row
from schemas.recording import Word
from stages.evaluate.emotion import EmotionRecogniser, HeardEmotion
from stages.quality import QualityConfig
from stages.quality.stage import loudness
from stages.stage import SAMPLE_RATE, Samples
from stages.synthesize.checks import letters
from stages.tokenize.resample import to_16k
from stages.transcribe.recogniser import Hypothesis
from stages.transcribe.text import script_converter
from stages.word_errors import errors

WINDOW = 28 * SAMPLE_RATE
"""Longest piece that is recognised at once."""
LANGUAGE_SECONDS = 30.0
MIN_SPEECH_SECONDS = 0.1


@dataclass(frozen=True)
class HeardPart:
    """Measures of the voice in part of an answer, as those of `Heard`."""

    letters_per_second: float | None
    pitch_hz: float | None
    pitch_range: float | None
    loudness: float | None


@dataclass(frozen=True)
class Heard:
    """Measures of an answer; None for what can't be measured in it."""

    text: str
    """As the recogniser writes it; empty without speech."""
    language: str | None = None
    """ISO 639-1, as the recogniser hears it."""
    language_probability: float | None = None
    seconds: float = 0.0
    """Length of the audio."""
    speech_seconds: float = 0.0
    """Of it, where the voice activity detector hears speech."""
    word_errors: float | None = None
    """Errors over words (characters in scripts without spaces) of what is heard against what is written."""
    dnsmos: float | None = None
    """Overall, 1 to 5."""
    letters_per_second: float | None = None
    """Of speech; a Chinese character counts as 3."""
    pitch_hz: float | None = None
    """Median."""
    pitch_range: float | None = None
    """Semitones from the 10th to the 90th percentile."""
    loudness: float | None = None
    """LUFS"""
    voice: tuple[float, ...] = ()
    """Unit-length embedding; empty if the speech is too short for one."""
    emotions: tuple[HeardEmotion, ...] = ()
    """Likeliest first; empty if no recogniser of emotions is named."""
    parts: tuple[HeardPart, ...] = ()
    """Those that a check is about; empty without one, and without words."""

    def as_json(self) -> dict[str, Any]:
        row: dict[str, Any] = to_row(self)
        return row

    @classmethod
    def of_json(cls, row: dict[str, Any]) -> "Heard":
        return from_row(cls, row)


SILENCE = Heard("")


class Ears:
    """The recogniser and the measures of a build, on the CPU, and perhaps a recogniser of emotions.

    Raises SetupError if a model is missing.
    """

    def __init__(self, emotions: str | None = None) -> None:
        """`emotions` is the reference of an audio classifier."""
        from silero_vad.sequence_vad import SileroVADSequence

        self._named = (resolve(emotions),) if emotions else ()
        self._emotions = EmotionRecogniser(self._named[0].path) if self._named else None

        self.judge = SpeechJudge()
        self._vad = SileroVADSequence(str(resolve(QualityConfig().vad).path))
        self._simplified = script_converter("simplified")

    def about(self) -> dict[str, str]:
        """The models, reference -> sha256."""
        return {model.reference: model.sha256 for model in (*self.judge.models, *self._named)}

    def language(self, samples: Samples) -> tuple[str, float]:
        """ISO 639-1 and probability of samples [n] at 16 kHz."""
        probabilities = self.judge.recogniser.language_probabilities(samples[:WINDOW], LANGUAGE_SECONDS)
        best = max(probabilities, key=lambda name: probabilities[name])
        return best, probabilities[best]

    def transcribe(self, samples: Samples, language: str) -> str:
        """The words of samples [n] at 16 kHz of any length; Chinese in simplified characters."""
        return self._written(self._pieces(samples, language), language)

    def _pieces(self, samples: Samples, language: str) -> list[Hypothesis]:
        """What is heard in each `WINDOW` of samples [n]."""
        pieces = [samples[start : start + WINDOW] for start in range(0, len(samples), WINDOW)]
        return [self.judge.recogniser.recognise([piece], language)[0] for piece in pieces]

    def _written(self, pieces: Sequence[Hypothesis], language: str) -> str:
        text = ("" if language == "zh" else " ").join(piece.text.strip() for piece in pieces)
        return self._simplified(text) if language == "zh" else text

    def hear(self, answer: SpokenAnswer, parts: int = 1) -> Heard:
        """Measure an answer, whose text is what it should say, and each of several parts of it."""
        if answer.samples is None or not len(answer.samples):
            return SILENCE
        samples = to_16k(np.ascontiguousarray(answer.samples), answer.rate)
        seconds = len(samples) / SAMPLE_RATE
        speech = self._speech_seconds(samples)
        if speech < MIN_SPEECH_SECONDS:
            return Heard("", seconds=seconds, speech_seconds=speech)
        language, probability = self.language(samples)
        pieces = self._pieces(samples, language)
        text = self._written(pieces, language)
        found = errors(language, answer.text, text) if answer.text.strip() else None
        pitch = self.judge.pitch.track(samples)
        [vector] = self.judge.embedding([samples])
        return Heard(
            text,
            language,
            probability,
            seconds,
            speech,
            found.wrong / found.of if found else None,
            self.judge.quality.score(samples).overall,
            letters(text) / speech,
            pitch.median_hz if pitch else None,
            pitch.range_semitones if pitch else None,
            loudness(samples),
            () if np.isnan(vector).any() else tuple(float(value) for value in vector),
            self._emotions(samples) if self._emotions else (),
            self._parts(samples, _words(pieces), parts),
        )

    def _parts(self, samples: Samples, words: Sequence[Word], number: int) -> tuple[HeardPart, ...]:
        """Measures of a number of parts of samples [n] at 16 kHz, which have equal shares of the letters."""
        if not words or number < 2:
            return ()
        ends = np.cumsum([letters(word.text) for word in words])
        middles = ends - np.diff(ends, prepend=0) / 2
        firsts = np.searchsorted(middles, ends[-1] * np.arange(1, number) / number)
        bounds = [0, *(int(first) for first in firsts), len(words)]
        cuts = [0, *(_between(words, first) for first in bounds[1:-1]), len(samples)]
        return tuple(
            self._part(samples[start:end], words[first:last])
            for (start, end), (first, last) in zip(pairwise(cuts), pairwise(bounds), strict=True)
        )

    def _part(self, samples: Samples, words: Sequence[Word]) -> HeardPart:
        if not words:
            return HeardPart(None, None, None, None)
        speech = self._speech_seconds(samples)
        pitch = self.judge.pitch.track(samples)
        return HeardPart(
            letters("".join(word.text for word in words)) / speech if speech >= MIN_SPEECH_SECONDS else None,
            pitch.median_hz if pitch else None,
            pitch.range_semitones if pitch else None,
            loudness(samples),
        )

    def _speech_seconds(self, samples: Samples) -> float:
        from silero_vad.sequence_vad import get_speech_timestamps_sequence

        segments = get_speech_timestamps_sequence(samples, self._vad)
        return sum(int(segment["end"]) - int(segment["start"]) for segment in segments) / SAMPLE_RATE


def _words(pieces: Sequence[Hypothesis]) -> list[Word]:
    """The words of consecutive windows, at their times in all of them."""
    return [
        replace(word, start=word.start + start, end=word.end + start)
        for start, piece in zip(count(0.0, WINDOW / SAMPLE_RATE), pieces, strict=False)
        for word in piece.words
    ]


def _between(words: Sequence[Word], number: int) -> int:
    """The sample, at 16 kHz, between a word and the one before."""
    before, after = words[max(0, number - 1)], words[min(number, len(words) - 1)]
    return round((before.end + after.start) / 2 * SAMPLE_RATE)


def voice_likeness(answers: list[Heard]) -> float | None:
    """Least cosine between the voices of the answers of a conversation; None with fewer than two."""
    voices = [np.array(heard.voice) for heard in answers if heard.voice]
    if len(voices) < 2:
        return None
    return float(min(a @ b for n, a in enumerate(voices) for b in voices[:n]))
