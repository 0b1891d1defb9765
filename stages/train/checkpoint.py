"""A model as a folder in the public layout: config.json, safetensors, and the vocabulary of its ids."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from schemas.errors import SetupError
from schemas.vocabulary import STEP1_IDS
from stages.train.lora import MergedTensors, base_state
from stages.train.model import CONFIG, Backbone, Step1
from stages.train.shape import STEP1, Shape, is_step1_config, shape_of
from stages.train.sharded import own, region
from stages.train.stored_names import StoredNames, stored_names
from stages.train.weights import SafetensorsFolder, spec_of, write_weights

VOCABULARY = "vocabulary.json"


def save(
    model: Backbone,
    directory: Path,
    vocabulary: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    writes: bool = True,
) -> None:
    """Write a model in the public layout, its adapters merged. `vocabulary` is that section of a version's
    manifest; without it the special ids are Step-1's.

    If the model is sharded, all processes must call this, and one writes. They gather one tensor at a time,
    so that none ever holds the whole model.
    """
    tensors = MergedTensors(model)
    if not writes:
        for name in tensors.parts:
            tensors.whole(name)
        return
    directory.mkdir(parents=True, exist_ok=True)
    specials = vocabulary["specials"] if vocabulary else STEP1_IDS
    for name, content in model.files(dtype, specials).items():
        (directory / name).write_text(content, encoding="utf-8")
    if vocabulary:
        (directory / VOCABULARY).write_text(json.dumps(vocabulary, indent=2) + "\n")
    specs = [spec_of(name, tensor, dtype) for name, tensor in tensors.parts.items()]
    write_weights(directory, specs, lambda spec: [tensors.whole(spec.name).cpu()])


def load(directory: Path, device: torch.device | str = "cpu") -> Step1:
    """A Step-1 model in float32, from any folder with the public keys. Raises SetupError for any
    other folder."""
    if not is_step1(directory):
        architectures = _config(directory).get("architectures")
        raise SetupError(f"{directory / CONFIG} has the architectures {architectures}, not {STEP1}")
    with torch.device("meta"):
        model = Step1(read_shape(directory))
    model.to_empty(device=device)
    load_into(model, directory)
    return model


@torch.no_grad()
def load_into(model: nn.Module, directory: Path) -> None:
    """Load a folder's weights into a model of the same shape; each process reads only the part that it holds.
    Raises SetupError if the tensors don't match."""
    weights = SafetensorsFolder(directory)
    stored = checked_names(model, weights)
    for name, parameter in base_state(model).items():
        own(parameter).copy_(weights.part(stored.of[name], region(parameter)))


def freeze_as_stored(model: nn.Module, directory: Path) -> None:
    """Give the frozen parameters of a model on the meta device the precision that they have in a folder."""
    weights = SafetensorsFolder(directory)
    stored = checked_names(model, weights)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(weights.specs[stored.of[name]].dtype)


def checked_names(model: nn.Module, weights: SafetensorsFolder) -> StoredNames:
    """Where a folder has a model's tensors. Raises SetupError if they don't match."""
    parameters, directory = base_state(model), weights.directory
    stored = stored_names(directory, parameters.keys(), weights.specs.keys(), _has_images(directory))
    for name, parameter in parameters.items():
        actual = weights.specs[stored.of[name]].shape
        if actual != tuple(parameter.shape):
            raise SetupError(
                f"{directory}: {stored.of[name]} is {list(actual)}, not {list(parameter.shape)} as "
                "config.json says"
            )
    return stored


def bytes_per_weight(directory: Path) -> float:
    """Of the weights as they are stored in a folder."""
    specs = SafetensorsFolder(directory).specs.values()
    return sum(spec.bytes for spec in specs) / sum(spec.elements for spec in specs)


def sha256(directory: Path) -> str:
    """Hash of the weights of a folder."""
    combined = hashlib.sha256()
    for path in SafetensorsFolder(directory).files:
        with path.open("rb") as file:
            combined.update(hashlib.file_digest(file, "sha256").digest())
    return combined.hexdigest()


def is_step1(directory: Path) -> bool:
    """Whether a folder's model is a Step-1 decoder, perhaps with image encoders beside it."""
    return is_step1_config(_config(directory))


def _has_images(directory: Path) -> bool:
    """Whether a Step-1 decoder is only a part of a folder's model. Step-Audio-AQAA has image encoders."""
    config = _config(directory)
    return is_step1_config(config) and STEP1 not in (config.get("architectures") or ())


def read_shape(directory: Path) -> Shape:
    """Shape of the model of a folder. Raises SetupError if it has no config.json of a language model."""
    try:
        return shape_of(_config(directory))
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{directory} has no usable {CONFIG}: {error}") from None


def _config(directory: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((directory / CONFIG).read_text())
        return config
    except (OSError, ValueError) as error:
        raise SetupError(f"{directory} has no usable {CONFIG}: {error}") from None


def read_vocabulary(directory: Path) -> dict[str, Any] | None:
    """The vocabulary of a checkpoint's ids; None if it isn't recorded."""
    file = directory / VOCABULARY
    return json.loads(file.read_text()) if file.exists() else None
