"""Operations that a training step needs, and those that a device can do."""

import torch

from stages.train.shape import Shape

DENSE_BF16 = {"H100": 989e12, "H800": 989e12, "H200": 989e12, "A100": 312e12, "A800": 312e12}
"""Operations a second of matrices in bfloat16 without sparsity, by what the device's name holds."""


def step_flops(shape: Shape, tokens: float, squares: float, targets: float) -> float:
    """Of forward and backward over documents with `tokens` in all, without what is computed twice.

    `squares` is the sum of the squares of their lengths: a token attends to those before it in its document.
    The head computes at the `targets` only. Backward takes twice what forward does.
    """
    layers = shape.backbone_parameters * tokens
    attention = shape.layers * shape.hidden * squares  # scores and their use: 2 products of n^2 / 2
    head = shape.vocabulary * shape.hidden * targets
    return 6.0 * (layers + attention + head)


def peak(device: torch.device) -> float | None:
    """Operations a second that a device can do; None where that isn't known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for part, flops in DENSE_BF16.items() if part in name), None)
