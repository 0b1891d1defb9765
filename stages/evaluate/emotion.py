"""The emotion of speech, by any audio classifier that the library transformers has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from stages.stage import SAMPLE_RATE, Samples

EMOTIONS = {
    "angry": ("ang",),
    "happy": ("hap", "joy"),
    "sad": ("sad",),
    "neutral": ("neu",),
    "fearful": ("fea",),
    "disgusted": ("dis",),
    "surprised": ("sur",),
}
"""Emotion -> how names of it begin in the labels of public models, such as `ang`, `Anger` or `生气/angry`."""


@dataclass(frozen=True)
class HeardEmotion:
    name: str
    """One of `EMOTIONS`, or any other label of the model as it is."""
    probability: float


class EmotionRecogniser:
    """A classifier in a folder of the format of transformers, on the CPU.

    Raises SetupError if transformers is not installed, or the folder has no classifier that knows emotions.
    """

    def __init__(self, path: Path) -> None:
        try:
            from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
        except ImportError as error:
            raise SetupError(
                "a recogniser of emotions needs the library transformers: pip install 'aqaa-data[hub]'"
            ) from error
        try:
            self._features = AutoFeatureExtractor.from_pretrained(path, local_files_only=True)
            self._model = AutoModelForAudioClassification.from_pretrained(path, local_files_only=True).eval()
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise SetupError(f"{path} can't be loaded as a recogniser of emotions: {error}") from error
        labels: dict[int, str] = self._model.config.id2label
        self.names = tuple(_emotion(labels[number]) for number in range(len(labels)))
        if not set(self.names) & EMOTIONS.keys():
            raise SetupError(
                f"{path} is no recogniser of emotions: its labels are {', '.join(labels.values())}, and none "
                f"of them is {', '.join(EMOTIONS)}"
            )

    def __call__(self, samples: Samples) -> tuple[HeardEmotion, ...]:
        """The probability of each emotion in samples [n] at 16 kHz, likeliest first."""
        import torch

        inputs: Any = self._features(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            probabilities = self._model(**inputs).logits[0].float().softmax(-1).tolist()
        heard = map(HeardEmotion, self.names, probabilities)
        return tuple(sorted(heard, key=lambda each: -each.probability))


def _emotion(label: str) -> str:
    """The emotion that a label names."""
    name = label.rpartition("/")[2].strip().lower()
    return next((emotion for emotion, begins in EMOTIONS.items() if name.startswith(begins)), name)
