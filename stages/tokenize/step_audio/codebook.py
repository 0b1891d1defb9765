"""Nearest codebook centres, and detection of codes that rounding could change."""

import torch
from torch import Tensor, nn

ROUNDING = 1e-6
"""Bound on the relative difference that the order of summation makes along one direction of an encoder's
float32 output (measured at full size: 4e-7, and 5e-6 in all directions together)."""


class Nearest(nn.Module):
    """Finds the centre with the smallest Euclidean distance.

    Computed in double precision, which settings for faster matrix products don't affect.
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
        """Codes of vectors [..., width], int32 [...], and whether rounding could change them, bool [...]."""
        x = x.double()
        length = x.square().sum(dim=-1)
        # |x - c|^2 minus |x|^2, which is the same for every centre.
        distances = self.norms - 2 * (x @ self.centres)
        best, codes = distances.min(dim=-1)
        second = distances.scatter(-1, codes[..., None], torch.inf).amin(dim=-1)
        # An error e in x changes the difference of the distances to centres a and b by 2 e (a - b), and
        # |a - b| is at most twice the larger distance.
        margin = 4 * ROUNDING * (length * (second + length).clamp_min(0)).sqrt()
        return codes.int(), second - best < margin
