"""The emotion of speech, by any audio classifier that the library transformers has."""

from dataclasses import dataclass
from pathlib import Path

from schemas.errors import SetupError
from schemas.style import EMOTIONS, emotion_of
from stages.audio_classifier import AudioClassifier
from stages.stage import Samples


@dataclass(frozen=True)
class HeardEmotion:
    name: str
    """One of `EMOTIONS`, or any other label of the model as it is."""
    probability: float


class EmotionRecogniser:
    """A classifier of emotions. Raises SetupError as `AudioClassifier` does, and if it knows no emotions."""

    def __init__(self, path: Path) -> None:
        self._classifier = AudioClassifier(path)
        labels = self._classifier.labels
        self._names = {label: emotion_of(label) for label in labels}
        if not set(self._names.values()) & EMOTIONS.keys():
            raise SetupError(
                f"{path} is no recogniser of emotions: its labels are {', '.join(labels)}, and none "
                f"of them is {', '.join(EMOTIONS)}"
            )

    def __call__(self, samples: Samples) -> tuple[HeardEmotion, ...]:
        """The probability of each emotion in samples [n] at 16 kHz, likeliest first."""
        heard = (HeardEmotion(self._names[name], share) for name, share in self._classifier(samples).items())
        return tuple(sorted(heard, key=lambda each: -each.probability))
