"""What audio classifiers hear in a turn: its emotion, its sounds, its dialect, or what their labels say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from schemas.recording import HeardLabel
from stages.audio_classifier import AudioClassifier
from stages.gpu import DeviceName
from stages.stage import Config, Samples


class EarConfig(Config):
    model: str = Field(
        description="audio classifier that transformers opens: a folder, URI or reference (hub:ORG/NAME)"
    )
    labels: dict[str, str] = Field(
        {},
        description="each label of the model -> the label to keep for it, such as {ang: angry, neu: neutral} "
        "(none: the model's own)",
    )


class TurnEars:
    """The classifiers of each ear. Raises SetupError as `AudioClassifier` does."""

    def __init__(
        self, ears: Mapping[str, Sequence[EarConfig]], models: Mapping[str, Path], device: DeviceName
    ) -> None:
        self._classifiers = {
            name: [AudioClassifier(models[ear.model], ear.labels, device) for ear in several]
            for name, several in sorted(ears.items())
        }

    def __call__(self, samples: Samples) -> tuple[HeardLabel, ...]:
        """What each ear hears in samples [n] at 16 kHz. Raises whatever a classifier raises."""
        (heard,) = self.each([samples])
        if isinstance(heard, Exception):
            raise heard
        return heard

    def each(self, turns: Sequence[Samples]) -> list[tuple[HeardLabel, ...] | Exception]:
        """What each ear hears in each turn (samples [n] at 16 kHz), or the error where one can't hear it."""
        heard = {
            name: [classifier.each(turns) for classifier in classifiers]
            for name, classifiers in self._classifiers.items()
        }
        return [
            _of_turn({name: [of[number] for of in several] for name, several in heard.items()})
            for number in range(len(turns))
        ]


def _of_turn(
    heard: Mapping[str, Sequence[Mapping[str, float] | Exception]],
) -> tuple[HeardLabel, ...] | Exception:
    labels: list[HeardLabel] = []
    for name, several in heard.items():
        found = [each for each in several if not isinstance(each, Exception)]
        if len(found) < len(several):
            return next(each for each in several if isinstance(each, Exception))
        labels.append(agreed(name, found))
    return tuple(labels)


def agreed(ear: str, heard: Sequence[Mapping[str, float]]) -> HeardLabel:
    """The likeliest label, with the lowest of the probabilities that several classifiers give it; without a
    label if they differ in which is likeliest."""
    best = {max(labels, key=lambda label: labels[label]) for labels in heard}
    probability = min(max(labels.values()) for labels in heard)
    return HeardLabel(ear, best.pop() if len(best) == 1 else None, probability)
