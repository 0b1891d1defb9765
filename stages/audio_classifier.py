"""Labels of audio by any classifier that the library transformers opens: emotions, sounds, dialects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from stages.gpu import DeviceName, device_of
from stages.stage import SAMPLE_RATE, Samples


class AudioClassifier:
    """A classifier in a folder of the format of transformers.

    Raises SetupError if transformers is not installed, if the folder has no classifier, or if `labels` names
    other labels than the model has.
    """

    def __init__(
        self, path: Path, labels: Mapping[str, str] | None = None, device: DeviceName = "cpu"
    ) -> None:
        """`labels`: each label of the model -> the one to use for it; by default they stay as they are."""
        try:
            from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
        except ImportError as error:
            raise SetupError(
                "audio classifiers need the library transformers: pip install 'aqaa-data[hub]'"
            ) from error
        try:
            self._features = AutoFeatureExtractor.from_pretrained(path, local_files_only=True)
            self._model = AutoModelForAudioClassification.from_pretrained(path, local_files_only=True).eval()
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise SetupError(f"{path} can't be loaded as an audio classifier: {error}") from error
        self._device = device_of(device)
        self._model.to(self._device)
        self._is_tagger = self._model.config.problem_type == "multi_label_classification"
        own = [self._model.config.id2label[number] for number in range(self._model.config.num_labels)]
        for what, names in (
            ("has no name for", set(own) - (labels or dict.fromkeys(own)).keys()),
            ("names what the model doesn't have,", (labels or {}).keys() - set(own)),
        ):
            if names:
                raise SetupError(
                    f"`labels` of {path} {what} {', '.join(sorted(names))}: the model's labels are "
                    f"{', '.join(own)}"
                )
        self.labels = tuple((labels or {}).get(label, label) for label in own)

    def __call__(self, samples: Samples) -> dict[str, float]:
        """The probability of each label in samples [n] at 16 kHz. Those of several labels of the model that
        have one name are added, but for taggers, whose labels exclude no others: there it is the highest."""
        import torch

        inputs: Any = self._features(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(**inputs.to(self._device)).logits[0].float()
        found: dict[str, float] = {}
        for label, value in zip(
            self.labels, (logits.sigmoid() if self._is_tagger else logits.softmax(-1)).tolist(), strict=True
        ):
            before = found.get(label, 0.0)
            found[label] = max(before, value) if self._is_tagger else before + value
        return found
