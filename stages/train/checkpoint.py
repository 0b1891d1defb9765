"""A model as a folder that others read: config.json, safetensors, and the vocabulary that the ids are of."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from schemas.errors import SetupError
from stages.train.model import CONFIG, Backbone, Step1
from stages.train.shape import STEP1, Shape, shape_of
from stages.train.sharded import own, region, whole
from stages.train.weights import SafetensorsFolder, spec_of, write_weights

VOCABULARY = "vocabulary.json"


def save(
    model: Backbone,
    directory: Path,
    vocabulary: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    writes: bool = True,
) -> None:
    """Write a model in the public layout. `vocabulary` is what a version's manifest says of its ids; without
    it the special tokens are Step-1's.

    Of a model that is shared out over processes all must call, and one writes. They gather a tensor at a
    time: none ever holds the whole model.
    """
    tensors = model.state_dict()
    if not writes:
        for tensor in tensors.values():
            whole(tensor)
        return
    directory.mkdir(parents=True, exist_ok=True)
    specials = {name: vocabulary["specials"][name] for name in ("pad", "bos", "eos")} if vocabulary else {}
    for name, content in model.files(dtype, specials).items():
        (directory / name).write_text(content, encoding="utf-8")
    if vocabulary:
        (directory / VOCABULARY).write_text(json.dumps(vocabulary, indent=2) + "\n")
    specs = [spec_of(name, tensor, dtype) for name, tensor in tensors.items()]
    write_weights(directory, specs, lambda spec: [whole(tensors[spec.name]).detach().cpu()])


def load(directory: Path, device: torch.device | str = "cpu") -> Step1:
    """A Step-1 model in float32, from any folder with the public keys. Raises SetupError where it is none."""
    if not is_step1(directory):
        found = _config(directory).get("architectures")
        raise SetupError(f"{directory / CONFIG} is of {found}, not of {STEP1}")
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
    wanted = model.state_dict()
    for name in sorted(wanted.keys() ^ weights.specs.keys()):
        said = "lacks" if name in wanted else "has a tensor that the model does not:"
        raise SetupError(f"{directory} {said} {name}")
    for name, parameter in wanted.items():
        if weights.specs[name].shape != tuple(parameter.shape):
            found = list(weights.specs[name].shape)
            raise SetupError(
                f"{directory}: {name} is {found}, not {list(parameter.shape)} as config.json says"
            )
        own(parameter).copy_(weights.part(name, region(parameter)))


def sha256(directory: Path) -> str:
    """Of the weights of a folder."""
    together = hashlib.sha256()
    for path in SafetensorsFolder(directory).files:
        with path.open("rb") as file:
            together.update(hashlib.file_digest(file, "sha256").digest())
    return together.hexdigest()


def is_step1(directory: Path) -> bool:
    """Whether a folder's model is the Step-1 decoder."""
    return STEP1 in (_config(directory).get("architectures") or ())


def read_shape(directory: Path) -> Shape:
    """Of the model of a folder. Raises SetupError where it has no config.json of a language model."""
    try:
        return shape_of(_config(directory))
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{directory} holds no usable {CONFIG}: {error}") from None


def _config(directory: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((directory / CONFIG).read_text())
        return found
    except (OSError, ValueError) as error:
        raise SetupError(f"{directory} holds no usable {CONFIG}: {error}") from None


def read_vocabulary(directory: Path) -> dict[str, Any] | None:
    """What is said of the ids of a checkpoint; None where nothing is."""
    file = directory / VOCABULARY
    return json.loads(file.read_text()) if file.exists() else None
