"""From the states of a middle layer to the two codes, and from codes to vectors that a reader understands."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.tokenize.trained.fsq import FSQ
from stages.tokenize.trained.layers import Weights, WhisperLayer, depth
from stages.tokenize.trained.prosody import ENERGIES, PITCHES

SEMANTIC, LINGUISTIC = 2, 3
"""States per code."""


@dataclass(frozen=True)
class CodesShape:
    """Shape of the trained networks."""

    width: int = 512
    heads: int = 8
    lower_layers: int = 3
    """Frozen layers of the Whisper model below the quantizer."""
    own_layers: int = 1
    """Trained layers between those and the codes."""
    reader_layers: int = 3
    linguistic_levels: tuple[int, ...] = (4, 4, 4, 4, 4)
    semantic_levels: tuple[int, ...] = (8, 4, 4)
    """Of the content of a semantic code, which also has a level of pitch and one of energy."""

    @classmethod
    def of_model(cls, weights: Weights) -> "CodesShape":
        """For a Whisper model: its lower half is frozen."""
        layers = depth(weights, "encoder")
        lower = layers // 2
        width, heads = weights["encoder/conv1/weight"].shape[0], int(weights["encoder/num_heads"])
        return cls(width, heads, lower_layers=lower, reader_layers=layers - lower)

    @property
    def factors(self) -> tuple[int, int, int]:
        """Sizes of the factors of a semantic code: pitch, energy and content."""
        return PITCHES, ENERGIES, FSQ(self.semantic_levels).size

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "CodesShape":
        """Raises TypeError for unknown keys."""
        tuples = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
        return cls(**content | tuples)


class Quantizer(nn.Module):
    """States of the lower layers -> content of the two codes."""

    def __init__(self, shape: CodesShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(WhisperLayer(shape.width, shape.heads) for _ in range(shape.own_layers))
        self.linguistic = Head(shape.width, LINGUISTIC, shape.linguistic_levels)
        self.semantic = Head(shape.width, SEMANTIC, shape.semantic_levels)

    def forward(self, states_BTD: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Vectors before quantisation: linguistic [B, T // 3, ..], semantic [B, T // 2, ..]."""
        for layer in self.layers:
            states_BTD = layer(states_BTD, mask)
        return self.linguistic(states_BTD), self.semantic(states_BTD)


class Head(nn.Module):
    """Joins consecutive states, and projects them to the dimensions of a grid."""

    def __init__(self, width: int, states: int, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.states = states
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width * states, width)
        self.out = nn.Linear(width, len(levels))
        self.grid = FSQ(levels)

    def forward(self, states_BTD: Tensor) -> Tensor:
        whole = states_BTD.shape[1] // self.states * self.states
        joined = self.norm(states_BTD[:, :whole]).unflatten(1, (-1, self.states)).flatten(2)
        vectors: Tensor = self.out(F.gelu(self.hidden(joined)))
        return vectors


class CodeVectors(nn.Module):
    """Vectors at the rate of states (50 Hz) from codes: the sum of what both codebooks say."""

    def __init__(self, shape: CodesShape) -> None:
        super().__init__()
        width = shape.width
        self.linguistic = Unfold(len(shape.linguistic_levels), width, LINGUISTIC)
        self.semantic = Unfold(len(shape.semantic_levels) + PITCHES + ENERGIES, width, SEMANTIC)
        self.missing = nn.Parameter(torch.zeros(2, width))
        """Stand for a codebook that is left out."""

    def forward(
        self,
        linguistic_BLV: Tensor,
        semantic_BSV: Tensor,
        pitch_BS: Tensor,
        energy_BS: Tensor,
        states: int,
        kept_B2: Tensor | None = None,
    ) -> Tensor:
        """[B, states, D] of the rounded values of both codes. `kept_B2`: which codebooks are given."""
        prosody = F.one_hot(pitch_BS, PITCHES), F.one_hot(energy_BS, ENERGIES)
        semantic = torch.cat([semantic_BSV, *(part.to(semantic_BSV) for part in prosody)], -1)
        streams = [
            fitted(self.linguistic(linguistic_BLV), states),
            fitted(self.semantic(semantic), states),
        ]
        if kept_B2 is not None:
            streams = [
                torch.where(kept_B2[:, n, None, None], stream, self.missing[n].to(stream))
                for n, stream in enumerate(streams)
            ]
        return streams[0] + streams[1]


class Unfold(nn.Module):
    """One vector per code -> `states` vectors."""

    def __init__(self, inputs: int, width: int, states: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, width)
        self.out = nn.Linear(width, width * states)
        self.states = states

    def forward(self, x_BNV: Tensor) -> Tensor:
        joined: Tensor = self.out(F.gelu(self.hidden(x_BNV)))
        return joined.view(*joined.shape[:-1], self.states, -1).flatten(1, 2)


def fitted(x_BTD: Tensor, states: int) -> Tensor:
    """Cut to a number of states, or the last one repeated."""
    missing = states - x_BTD.shape[1]
    if missing <= 0:
        return x_BTD[:, :states]
    return torch.cat([x_BTD, x_BTD[:, -1:].expand(-1, missing, -1)], 1)


class StateReader(nn.Module):
    """Codes -> the states that Whisper's encoder would have given for the sound."""

    def __init__(self, shape: CodesShape) -> None:
        super().__init__()
        self.vectors = CodeVectors(shape)
        self.layers = nn.ModuleList(
            WhisperLayer(shape.width, shape.heads) for _ in range(shape.reader_layers)
        )
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, vectors_BTD: Tensor, positions_TD: Tensor, mask: Tensor | None = None) -> Tensor:
        x_BTD = vectors_BTD + positions_TD[: vectors_BTD.shape[1]]
        for layer in self.layers:
            x_BTD = layer(x_BTD, mask)
        states: Tensor = self.norm(x_BTD)
        return states
