"""Noise that belongs to a frame, whatever else is synthesised with it."""

from functools import lru_cache

import torch
from torch import Tensor

CHUNK = 1024
"""Frames of noise that are drawn at once."""


def noise(seed: int, first: int, end: int, features: int) -> Tensor:
    """noise_1MT of frames `first` to `end`; a frame always gets the same noise."""
    chunks = [_drawn(seed, n, features) for n in range(first // CHUNK, -(-end // CHUNK))]
    if not chunks:
        return torch.zeros(1, features, 0)
    start = first // CHUNK * CHUNK
    return torch.cat(chunks, 1)[None, :, first - start : end - start]


@lru_cache(maxsize=8)
def _drawn(seed: int, chunk: int, features: int) -> Tensor:
    # Within the 64 bits of a seed, which a request may use up.
    generator = torch.Generator().manual_seed((1_000_003 * seed + chunk) % 2**63)
    return torch.randn(features, CHUNK, generator=generator)
