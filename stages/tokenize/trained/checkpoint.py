"""A folder of trained codes: codes.json, the quantizer, and the reader that turns codes back into states."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from schemas.errors import SetupError
from stages.tokenize.trained.quantizer import CodesShape, Quantizer, StateReader

FILE = "codes.json"
KIND = "TrainedCodes"
AnyModule = TypeVar("AnyModule", bound=nn.Module)
QUANTIZER, READER = "quantizer.safetensors", "reader.safetensors"


@dataclass(frozen=True)
class TrainedCodes:
    """The trained networks, and the Whisper model whose states they quantize."""

    shape: CodesShape
    model_sha256: str
    """Hash of the Whisper model's weights."""
    quantizer: Quantizer
    reader: StateReader | None

    def save(self, directory: Path) -> None:
        """Write the folder, in half precision."""
        directory.mkdir(parents=True, exist_ok=True)
        parts: list[tuple[str, nn.Module | None]] = [(QUANTIZER, self.quantizer), (READER, self.reader)]
        for name, part in parts:
            if part is not None:
                weights = {key: tensor.half().contiguous() for key, tensor in part.state_dict().items()}
                (directory / name).write_bytes(save(weights))
        content = {"kind": KIND, "model_sha256": self.model_sha256, **self.shape.as_json()}
        (directory / FILE).write_text(json.dumps(content, indent=2) + "\n")


def load(directory: Path, reader: bool = False) -> TrainedCodes:
    """The networks of a folder in float32, with the reader or without.

    Raises SetupError if a file is missing, damaged, or doesn't match codes.json.
    """
    path = directory / FILE
    try:
        content = json.loads(path.read_text())
        if content.pop("kind") != KIND:
            raise ValueError(f"its kind is not {KIND}")
        sha256 = str(content.pop("model_sha256"))
        shape = CodesShape.from_json(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} is missing or not that of trained codes: {error}") from error
    quantizer = _filled(Quantizer(shape), directory / QUANTIZER)
    return TrainedCodes(
        shape, sha256, quantizer, _filled(StateReader(shape), directory / READER) if reader else None
    )


def _filled(module: AnyModule, file: Path) -> AnyModule:
    try:
        weights: Mapping[str, Tensor] = load_file(file)
        module.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise SetupError(f"{file} is missing, damaged or does not match {FILE}: {error}") from error
    return module.eval().requires_grad_(False)


def describes(directory: Path) -> bool:
    """Whether a folder holds trained codes."""
    return (directory / FILE).is_file()
