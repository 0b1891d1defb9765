"""The tokenizer of trained codes.

A linguistic code is one of 1024 points of a grid for 60 ms. A semantic code joins three factors for 40 ms:
pitch, energy and content, as code = pitch + 8 (energy + 4 content).
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.arrow import Code
from schemas.errors import SetupError
from schemas.recording import Codes
from stages.gpu import DeviceName, device_of
from stages.stage import Samples
from stages.tokenize.trained.checkpoint import TrainedCodes
from stages.tokenize.trained.layers import LowerEncoder, Weights
from stages.tokenize.trained.mel import WhisperMel
from stages.tokenize.trained.prosody import ENERGIES, PITCHES, energy_levels, pitch_levels
from stages.tokenize.windows import GPU_ROWS, WindowTokenizer, counts, padded_length

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class SemanticFactors:
    """The factors of semantic codes, [n] each."""

    pitch: Indices
    """0: unvoiced; 1 to 7: low to high, relative to the utterance's median."""
    energy: Indices
    content: Indices

    def codes(self) -> Indices:
        return self.pitch + PITCHES * (self.energy + ENERGIES * self.content)

    @classmethod
    def of(cls, codes: Indices) -> "SemanticFactors":
        rest, pitch = np.divmod(codes, PITCHES)
        content, energy = np.divmod(rest, ENERGIES)
        return cls(pitch, energy, content)


class TrainedTokenizer(WindowTokenizer):
    """`Tokenizer` of trained codes. Raises SetupError if the model is another."""

    def __init__(
        self, weights: Weights, sha256: str, codes: TrainedCodes, device: DeviceName = "auto"
    ) -> None:
        """`weights` are those of a Whisper model, whose file has the hash `sha256`."""
        if codes.model_sha256 != sha256:
            raise SetupError(
                f"the codes were trained for another model, with the hash {codes.model_sha256[:12]}; "
                f"this one has {sha256[:12]}. Train codes for it with: aqaa-data codebooks fit"
            )
        self._device = device_of(device)
        # On a CPU, a batch is no faster than one row after another.
        self._rows = GPU_ROWS if self._device.type == "cuda" else 1
        self._lower = LowerEncoder(weights, codes.shape.lower_layers).eval().requires_grad_(False)
        self._lower.to(self._device)
        self._quantizer = codes.quantizer.to(self._device)
        self._mel = WhisperMel(self._lower.bands)
        self.linguistic_size = self._quantizer.linguistic.grid.size
        self.semantic_factors: tuple[int, ...] = (PITCHES, ENERGIES, self._quantizer.semantic.grid.size)
        self.semantic_size = math.prod(self.semantic_factors)

    def window_codes(self, windows: Sequence[Samples]) -> Iterator[Codes]:
        """Codes of windows of at most 30 s each, without normalization of their level."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for index, window in enumerate(windows):
            by_length[padded_length(len(window))].append(index)
        codes: dict[int, Codes] = {}
        for length, members in by_length.items():
            for first in range(0, len(members), self._rows):
                rows = members[first : first + self._rows]
                codes |= zip(rows, self._encoded([windows[i] for i in rows], length), strict=True)
        return (codes[index] for index in range(len(windows)))

    @torch.no_grad()
    def _encoded(self, windows: Sequence[Samples], length: int) -> Iterator[Codes]:
        """Codes of windows that are padded to `length` samples."""
        padded = [np.pad(window, (0, length - len(window))) for window in windows]
        padded += [padded[0]] * (self._rows - len(padded))
        samples_BN = torch.from_numpy(np.stack(padded)).to(self._device)
        linguistic, content = self._quantizer(self._lower(self._mel(samples_BN)))
        linguistic_BL = _indices(self._quantizer.linguistic.grid.codes(linguistic))
        content_BS = _indices(self._quantizer.semantic.grid.codes(content))
        for row, window in enumerate(windows):
            linguistic_count, semantic_count = counts(len(window))
            semantic = SemanticFactors(
                pitch_levels(window), energy_levels(window), content_BS[row, :semantic_count]
            ).codes()
            yield Codes(_codes(linguistic_BL[row, :linguistic_count]), _codes(semantic))


def _indices(codes: Tensor) -> Indices:
    indices: Indices = codes.cpu().numpy()
    return indices


def _codes(indices: Indices) -> tuple[Code, ...]:
    return tuple(Code(int(index)) for index in indices)
