"""The public weights: `flow.pt` and `hift.pt` of Step-Audio's CosyVoice-300M-25Hz, read strictly.

A state dict must have exactly the network's tensors, in their shapes; otherwise all differences are reported
by name.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from schemas.errors import SetupError
from stages.train.vocoder.shape import PRESETS, TOKENS, HiFTShape, VocoderShape
from stages.train.vocoder.vocoder import CONFIG, Locate, Vocoder, load

FLOW, WAVE = "flow.pt", "hift.pt"
SHIPPED = Path(__file__).with_name("weights")
"""The bundled vocoder; its README.md describes what it can be used for."""
PUBLIC = PRESETS["cosyvoice"]
LISTED = 5
"""Names per kind of difference that a message lists."""


@dataclass(frozen=True)
class Differences:
    """Differences between the tensors of a network and those of a file."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: Mapping[str, tuple[list[int], list[int]]]
    """Name -> the network's shape, the file's."""

    @classmethod
    def between(cls, network: Mapping[str, Tensor], file: Mapping[str, Tensor]) -> "Differences":
        return cls(
            tuple(sorted(network.keys() - file.keys())),
            tuple(sorted(file.keys() - network.keys())),
            {
                name: (list(network[name].shape), list(file[name].shape))
                for name in sorted(network.keys() & file.keys())
                if network[name].shape != file[name].shape
            },
        )

    def __str__(self) -> str:
        shapes = [f"{name} {actual} for {expected}" for name, (expected, actual) in self.shapes.items()]
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": shapes}
        return "; ".join(
            f"{len(names)} {kind}: {', '.join(names[:LISTED])}{' ..' if len(names) > LISTED else ''}"
            for kind, names in kinds.items()
            if names
        )


def load_released(directory: Path, shape: VocoderShape = PUBLIC) -> Vocoder:
    """The vocoder of a folder with flow.pt and hift.pt, in float32 on CPU.

    Raises SetupError, with all differences, for a file that is missing, damaged, or of another network.
    """
    if not isinstance(shape.wave, HiFTShape):
        raise ValueError(f"{shape} is not the shape of a public vocoder")
    flow = read(directory / FLOW)
    rows = flow.get("input_embedding.weight")
    if rows is not None and rows.dim() == 2 and len(rows) > TOKENS:
        # Rows after those of the codes, such as one for padding, are harmless.
        shape = replace(shape, flow=replace(shape.flow, tokens=len(rows)))
    with torch.device("meta"):
        vocoder = Vocoder.of(shape)
    fill(vocoder.flow, flow, directory / FLOW)
    fill(vocoder.wave, folded(read(directory / WAVE)), directory / WAVE)
    return vocoder.eval().requires_grad_(False)


def open_vocoder(directory: Path, locate: Locate) -> Vocoder:
    """The vocoder of a folder: one that was trained here, or the two files of the public one. `locate` finds
    the voice that it names, if any.

    Raises SetupError if it is neither.
    """
    if (directory / CONFIG).exists() or not (directory / FLOW).exists():
        return load(directory, locate)
    return load_released(directory)


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, without prefixes that training programs add."""
    if not file.is_file():
        raise SetupError(
            f"{file} does not exist: name the folder of a CosyVoice vocoder, with {FLOW} and {WAVE}"
        )
    try:
        # Weights only: a pickle can run arbitrary code.
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise SetupError(f"{file} is damaged or contains more than weights ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise SetupError(f"{file} is not a state dict: expected a dictionary of tensors")
    return {str(name).removeprefix("module.").removeprefix("generator."): t for name, t in state.items()}


def folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold weight normalisation: g v / |v|, with one norm per index of the first dimension."""
    folded_weights = dict(weights)
    for size, direction in (("weight_g", "weight_v"), (f"{_PARAMETRISED}0", f"{_PARAMETRISED}1")):
        for name in [name for name in weights if name.endswith(f".{size}")]:
            layer = name.removesuffix(size)
            if layer + direction in folded_weights:
                g, v = folded_weights.pop(name), folded_weights.pop(layer + direction)
                norm = torch.linalg.vector_norm(v, dim=(1, 2), keepdim=True)
                folded_weights[f"{layer}weight"] = v * (g / norm)
    return folded_weights


_PARAMETRISED = "parametrizations.weight.original"


def fill(network: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Load weights into a network as float32. Raises SetupError with all differences, or with the name of a
    tensor that has values that are not finite."""
    differences = Differences.between(network.state_dict(), weights)
    if text := str(differences):
        raise SetupError(f"{file} is not of Step-Audio's vocoder: {text}")
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise SetupError(f"{file}: {name} has values that are not finite")
    network.load_state_dict({name: t.float() for name, t in weights.items()}, assign=True)
