"""The public weights: `flow.pt` and `hift.pt` of Step-Audio's CosyVoice-300M-25Hz, read strictly.

A state dict loads when it holds every tensor of the network in its shape and no other; else all differences
are said by name.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from schemas.errors import SetupError
from stages.train.vocoder.shape import PRESETS, TOKENS, HiFTShape, VocoderShape
from stages.train.vocoder.vocoder import CONFIG, Vocoder, load

FLOW, WAVE = "flow.pt", "hift.pt"
SHIPPED = Path(__file__).with_name("weights")
"""The vocoder that comes with the project; its README.md says what it is good for."""
PUBLIC = PRESETS["cosyvoice"]
SHOWN = 5
"""Names of a kind that a message gives."""


@dataclass(frozen=True)
class Differences:
    """Between the tensors of a network and those of a file."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: Mapping[str, tuple[list[int], list[int]]]
    """Name -> the network's shape, the file's."""

    @classmethod
    def between(cls, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> "Differences":
        return cls(
            tuple(sorted(wanted.keys() - found.keys())),
            tuple(sorted(found.keys() - wanted.keys())),
            {
                name: (list(wanted[name].shape), list(found[name].shape))
                for name in sorted(wanted.keys() & found.keys())
                if wanted[name].shape != found[name].shape
            },
        )

    def __str__(self) -> str:
        shapes = [f"{name} {found} for {wanted}" for name, (wanted, found) in self.shapes.items()]
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": shapes}
        return "; ".join(
            f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{' ..' if len(names) > SHOWN else ''}"
            for kind, names in kinds.items()
            if names
        )


def load_released(directory: Path, shape: VocoderShape = PUBLIC) -> Vocoder:
    """The vocoder of a folder with flow.pt and hift.pt, in float32 on CPU.

    Raises SetupError for a file that is missing, damaged, or of another network, with every difference.
    """
    if not isinstance(shape.wave, HiFTShape):
        raise ValueError(f"{shape} is not of a public vocoder")
    flow = read(directory / FLOW)
    rows = flow.get("input_embedding.weight")
    if rows is not None and rows.dim() == 2 and len(rows) > TOKENS:
        # Rows behind those of the codes, such as one for padding, do no harm.
        shape = replace(shape, flow=replace(shape.flow, tokens=len(rows)))
    with torch.device("meta"):
        vocoder = Vocoder.of(shape)
    fill(vocoder.flow, flow, directory / FLOW)
    fill(vocoder.wave, folded(read(directory / WAVE)), directory / WAVE)
    return vocoder.eval().requires_grad_(False)


def open_vocoder(directory: Path) -> Vocoder:
    """The vocoder of a folder of either kind: one that was trained here, or the public one's two files.

    Raises SetupError where it is neither.
    """
    if (directory / CONFIG).exists() or not (directory / FLOW).exists():
        return load(directory)
    return load_released(directory)


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, whatever a training program wrapped it in."""
    if not file.is_file():
        raise SetupError(
            f"there is no {file}: name the folder of a CosyVoice vocoder, with {FLOW} and {WAVE}"
        )
    try:
        # Weights only: a pickle could run anything.
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise SetupError(f"{file} is damaged or holds more than weights ({reason})") from None
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise SetupError(f"{file} holds no state dict: its tensors should stand by name")
    return {str(name).removeprefix("module.").removeprefix("generator."): t for name, t in found.items()}


def folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of normalised convolutions multiplied out: g v / |v|, the norm of each first index's part."""
    found = dict(weights)
    for size, direction in (("weight_g", "weight_v"), (f"{_PARAMETRISED}0", f"{_PARAMETRISED}1")):
        for name in [name for name in weights if name.endswith(f".{size}")]:
            layer = name.removesuffix(size)
            if layer + direction in found:
                g, v = found.pop(name), found.pop(layer + direction)
                found[f"{layer}weight"] = v * (g / torch.linalg.vector_norm(v, dim=(1, 2), keepdim=True))
    return found


_PARAMETRISED = "parametrizations.weight.original"


def fill(network: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Give a network its weights as float32. Raises SetupError with all differences, or the name of a tensor
    whose numbers are not finite."""
    differences = Differences.between(network.state_dict(), weights)
    if said := str(differences):
        raise SetupError(f"{file} is of another network than Step-Audio's vocoder: {said}")
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise SetupError(f"{file}: {name} holds numbers that are not finite")
    network.load_state_dict({name: t.float() for name, t in weights.items()}, assign=True)
