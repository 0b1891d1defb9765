"""Labels of audio by any classifier that the library transformers opens: emotions, sounds, dialects."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.errors import SetupError
from stages.gpu import DeviceName, device_of, halving_on_oom
from stages.stage import SAMPLE_RATE, Samples

BATCH = 16
"""Turns that are computed at once."""


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
        have one name are added, but for taggers, whose labels exclude no others: there it is the highest.

        Raises whatever the model raises, such as for samples that are too short for it.
        """
        (found,) = self.each([samples])
        if isinstance(found, Exception):
            raise found
        return found

    def each(self, turns: Sequence[Samples]) -> list[dict[str, float] | Exception]:
        """The same of several turns, in order, with the error of those that the model can't hear.

        Turns whose features have equal shapes are computed together: those of equal length, and all of them
        for models that hear windows of a fixed length. Nothing is padded here, which would change results.
        """
        found: dict[int, dict[str, float] | Exception] = {}
        alike: dict[Any, list[tuple[int, Any]]] = defaultdict(list)
        for number, samples in enumerate(turns):
            try:
                inputs = dict(self._features(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt"))
                alike[tuple((name, value.shape) for name, value in inputs.items())].append((number, inputs))
            except Exception as error:
                found[number] = error
        for members in alike.values():
            for start in range(0, len(members), BATCH):
                several = members[start : start + BATCH]
                labelled = self._labelled([inputs for _, inputs in several])
                found |= {number: labels for (number, _), labels in zip(several, labelled, strict=True)}
        return [found[number] for number in range(len(turns))]

    def _labelled(self, inputs: Sequence[Mapping[str, Any]]) -> Sequence[dict[str, float] | Exception]:
        """Of inputs with the same shapes; each has the error if the model raises one."""
        try:
            parts = halving_on_oom(self._probabilities, inputs)
        except Exception as error:
            return [error] * len(inputs)
        return [self._named(probabilities) for part in parts for probabilities in part]

    def _probabilities(self, inputs: Sequence[Mapping[str, Any]]) -> list[list[float]]:
        import torch

        joined = {name: torch.cat([each[name] for each in inputs]).to(self._device) for name in inputs[0]}
        with torch.inference_mode():
            logits = self._model(**joined).logits.float()
        found: list[list[float]] = (logits.sigmoid() if self._is_tagger else logits.softmax(-1)).tolist()
        return found

    def _named(self, probabilities: Sequence[float]) -> dict[str, float]:
        found: dict[str, float] = {}
        for label, value in zip(self.labels, probabilities, strict=True):
            before = found.get(label, 0.0)
            found[label] = max(before, value) if self._is_tagger else before + value
        return found
