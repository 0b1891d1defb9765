"""Finite scalar quantisation (Mentzer et al., 2023): each of a few numbers is rounded to a few levels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FSQ(nn.Module):
    """Rounds vectors to a grid of `levels` values in each dimension."""

    _offset: Tensor
    _half: Tensor
    _shift: Tensor
    _steps: Tensor
    _counts: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.size = math.prod(self.levels)
        """Number of codes."""
        counts = torch.tensor(self.levels, dtype=torch.float32)
        # An even number of levels has no level at zero: the grid is shifted by half a step.
        offset = (counts.remainder(2) == 0) * 0.5
        half = (counts - 1) / 2 * (1 + EDGE)
        self.register_buffer("_offset", offset, persistent=False)
        self.register_buffer("_half", half, persistent=False)
        self.register_buffer("_shift", torch.atanh(offset / half), persistent=False)
        steps = [math.prod(self.levels[:n]) for n in range(len(self.levels))]
        self.register_buffer("_steps", torch.tensor(steps), persistent=False)
        self.register_buffer("_counts", torch.tensor(self.levels), persistent=False)

    def bounded(self, x: Tensor) -> Tensor:
        """x [.., dimensions] within the range of the levels, before rounding."""
        return torch.tanh(x + self._shift) * self._half - self._offset

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rounded values from -1 to 1, with the gradient of the values before rounding, and those values."""
        bounded = self.bounded(x)
        rounded = bounded + (bounded.round() - bounded).detach()
        scale = self._counts // 2
        return rounded / scale, bounded / scale

    def codes(self, x: Tensor) -> Tensor:
        """Codes [..] of vectors [.., dimensions]."""
        return ((self.bounded(x).round().long() + self._counts // 2) * self._steps).sum(-1)

    def values(self, codes: Tensor) -> Tensor:
        """The rounded values [.., dimensions] of codes [..]."""
        index = codes[..., None] // self._steps % self._counts
        return (index - self._counts // 2) / (self._counts // 2)


EDGE = 1e-3
"""How far the range exceeds the outermost levels, so that these can be reached."""
