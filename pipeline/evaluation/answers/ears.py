"""What is heard in a spoken answer: words, language, rate, pitch, loudness, quality and voice."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation.answers.exchange import SpokenAnswer
from pipeline.evaluation.speech_judge import SpeechJudge
from pipeline.models import resolve
from schemas.arrow import from_row, to_row
from stages.evaluate.emotion import EmotionRecogniser, HeardEmotion
from stages.quality import QualityConfig
from stages.quality.stage import loudness
from stages.stage import SAMPLE_RATE, Samples
from stages.synthesize.checks import letters
from stages.tokenize.resample import to_16k
from stages.transcribe.text import script_converter
from stages.word_errors import errors

WINDOW = 28 * SAMPLE_RATE
"""Longest piece that is recognised at once."""
LANGUAGE_SECONDS = 30.0
MIN_SPEECH_SECONDS = 0.1


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
        pieces = [samples[start : start + WINDOW] for start in range(0, len(samples), WINDOW)]
        heard = [self.judge.recogniser.recognise([piece], language)[0].text.strip() for piece in pieces]
        text = ("" if language == "zh" else " ").join(heard)
        return self._simplified(text) if language == "zh" else text

    def hear(self, answer: SpokenAnswer) -> Heard:
        """Measure an answer; its text is what it should say."""
        if answer.samples is None or not len(answer.samples):
            return SILENCE
        samples = to_16k(np.ascontiguousarray(answer.samples), answer.rate)
        seconds = len(samples) / SAMPLE_RATE
        speech = self._speech_seconds(samples)
        if speech < MIN_SPEECH_SECONDS:
            return Heard("", seconds=seconds, speech_seconds=speech)
        language, probability = self.language(samples)
        text = self.transcribe(samples, language)
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
        )

    def _speech_seconds(self, samples: Samples) -> float:
        from silero_vad.sequence_vad import get_speech_timestamps_sequence

        segments = get_speech_timestamps_sequence(samples, self._vad)
        return sum(int(segment["end"]) - int(segment["start"]) for segment in segments) / SAMPLE_RATE


def voice_likeness(answers: list[Heard]) -> float | None:
    """Least cosine between the voices of the answers of a conversation; None with fewer than two."""
    voices = [np.array(heard.voice) for heard in answers if heard.voice]
    if len(voices) < 2:
        return None
    return float(min(a @ b for n, a in enumerate(voices) for b in voices[:n]))
