"""Nearest centres, and where rounding could have decided between two."""

import torch
from torch import Tensor, nn

ROUNDING = 1e-6
"""Relative difference that another order of summation may make along one direction of an encoder's float32
output (seen at the full size: 4e-7, in all directions together 5e-6)."""


class Nearest(nn.Module):
    """The centre at the smallest Euclidean distance.

    In double precision, to which no setting for faster products applies.
    """

    centres: Tensor
    norms: Tensor

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        exact = centres.double()
        self.register_buffer("centres", exact.T.contiguous())
        self.register_buffer("norms", exact.square().sum(dim=1))

    @property
    def size(self) -> int:
        return len(self.norms)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[..., width] -> codes, int32, and whether rounding in `x` could give others, bool, both [...]."""
        x = x.double()
        length = x.square().sum(dim=-1)
        # |x - c|^2 without |x|^2, which is the same for every centre.
        distances = self.norms - 2 * (x @ self.centres)
        best, codes = distances.min(dim=-1)
        second = distances.scatter(-1, codes[..., None], torch.inf).amin(dim=-1)
        # An error e in x moves the difference of the two by 2 e (a - b), and |a - b| is at most twice the
        # larger distance.
        reach = 4 * ROUNDING * (length * (second + length).clamp_min(0)).sqrt()
        return codes.int(), second - best < reach
