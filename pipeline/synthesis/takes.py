"""Which of several takes of a part in a style is kept: the best one whose style is heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.recipe import Recipe
from pipeline.models import Model, resolve
from pipeline.synthesis.plain_speech import PlainSpeech
from schemas.errors import DataError
from schemas.style import emotion_of, measure_of
from stages.compose.labels import Labels, is_heard, voicing_of
from stages.compose.plain_comparison import compare_with_plain
from stages.quality.ears import TurnEars
from stages.stage import SAMPLE_RATE
from stages.synthesize.audio import SynthesizedAudio, resample
from stages.synthesize.checks import error_rate, fault
from stages.transcribe.whisper import WhisperRecogniser

RECOGNISER = "package:whisper-base"
_WINDOW = 30 * SAMPLE_RATE
"""Samples that Whisper hears at once."""


@dataclass(frozen=True)
class BestTake:
    utterance: SynthesizedAudio | DataError
    confirmed: int
    """Number of takes whose style is heard."""


def models_of_takes(recipe: Recipe) -> dict[str, Model]:
    """Reference -> what hears the takes of a recipe."""
    ears = recipe.quality.ears.get("emotion", ())
    return {reference: resolve(reference) for reference in (RECOGNISER, *(ear.model for ear in ears))}


class TakeJudge:
    """Hears takes with a packaged recogniser, the measures of `PlainSpeech`, and the recipe's ear for
    emotions; used by several threads at once. Raises SetupError for a model that can't be loaded."""

    def __init__(self, recipe: Recipe, plain_speech: PlainSpeech) -> None:
        models = models_of_takes(recipe)
        self._recogniser = WhisperRecogniser(models[RECOGNISER].path, "cpu", "int8", beam=5, threads=1)
        ears = {name: ears for name, ears in recipe.quality.ears.items() if name == "emotion"}
        self._ears = TurnEars(ears, {name: model.path for name, model in models.items()}, "cpu")
        self._plain_speech = plain_speech
        self._limits = recipe.compose.labels.limits
        self._voiced_max = recipe.compose.labels.whisper_voiced_max
        self._checks = recipe.synthesize.checks

    def best(
        self,
        takes: Sequence[SynthesizedAudio | DataError],
        likenesses: Sequence[float | None],
        text: str,
        style: str,
        plain: Mapping[str, Any],
    ) -> BestTake:
        """The first of the takes that are best: whose style is heard, that pass the checks, and whose words
        and voice are as they should be, in this order. One that fails the checks is set aside when it is
        packed; one whose style isn't heard would be learnt as what it isn't.

        `likenesses` are those of the takes to their voice, and `plain` the measures of the plain speech. If
        nothing was spoken, it is the error of the first take.
        """
        spoken = {n: take for n, take in enumerate(takes) if not isinstance(take, DataError)}
        if not spoken:
            return BestTake(takes[0], 0)
        measure = measure_of(style)
        confirmed = [n for n in spoken if is_heard(measure, style, self._heard(spoken[n], plain)) is True]
        language = self._language(next(iter(spoken.values())))
        ranks: dict[int, tuple[bool, float, float]] = {}
        for n in confirmed or spoken:
            words = self._words(spoken[n], language)
            seconds = len(spoken[n].samples) / spoken[n].rate
            fails = fault(text, words, seconds, likenesses[n], self._checks) is not None
            ranks[n] = (fails, error_rate(text, words), -(likenesses[n] or 0))
        return BestTake(spoken[min(ranks, key=lambda n: ranks[n])], len(confirmed))

    def _heard(self, take: SynthesizedAudio, plain: Mapping[str, Any]) -> dict[str, str]:
        """Measure or `emotion` -> the label that is heard."""
        compared = compare_with_plain(plain, self._plain_speech.measures(take), self._limits)
        heard = self._ears(resample(take, SAMPLE_RATE))
        emotions = {label.ear: emotion_of(label.label or "several") for label in heard}
        whispered = {} if self._voiced_max is None else self._voicing(take, self._voiced_max)
        return {**emotions, **whispered, **{name: found.label for name, found in compared.items()}}

    def _voicing(self, take: SynthesizedAudio, voiced_max: float) -> Labels:
        return voicing_of(*self._plain_speech.voicing(take), voiced_max)

    def _language(self, take: SynthesizedAudio) -> str:
        probabilities = self._recogniser.language_probabilities(resample(take, SAMPLE_RATE)[:_WINDOW], 1)
        return max(probabilities, key=lambda name: probabilities[name])

    def _words(self, take: SynthesizedAudio, language: str) -> str:
        samples = resample(take, SAMPLE_RATE)
        windows = [samples[start : start + _WINDOW] for start in range(0, len(samples), _WINDOW)]
        return "".join(part.text for part in self._recogniser.recognise(windows, language))
