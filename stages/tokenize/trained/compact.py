"""Weights in half the size of half precision: matrices as integers of 8 bits with a scale for each row."""

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"
LARGEST = 127


def compact(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as int8, each with a tensor NAME.scale [rows, 1]; all else in half precision."""
    smaller: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if tensor.dim() == 2:
            scale = (tensor.float().abs().amax(1, keepdim=True) / LARGEST).clamp(min=1e-6).half()
            smaller[name] = (tensor.float() / scale.float()).round().clamp(-LARGEST, LARGEST).to(torch.int8)
            smaller[name + SCALE] = scale
        else:
            smaller[name] = tensor.half().contiguous()
    return smaller


def expanded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All weights in float32. Raises KeyError if a scale is missing."""
    return {
        name: tensor.float() * weights[name + SCALE].float() if tensor.dtype == torch.int8 else tensor.float()
        for name, tensor in weights.items()
        if not name.endswith(SCALE)
    }
