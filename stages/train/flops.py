"""Floating-point operations of a training step, and the peak of a device."""

import torch

from stages.train.shape import Shape

DENSE_BF16 = {"H100": 989e12, "H800": 989e12, "H200": 989e12, "A100": 312e12, "A800": 312e12}
"""Peak FLOP/s of dense bfloat16 matrix products, by a part of the device's name."""


def step_flops(shape: Shape, tokens: float, squares: float, targets: float, frozen: bool = False) -> float:
    """FLOPs of forward and backward over documents with `tokens` in total, without recomputation.

    `squares` is the sum of the squared lengths of the documents: a token attends to the earlier ones in its
    document. The head computes only at the `targets`. Backward takes twice the operations of forward; if the
    weights are `frozen`, their products with inputs take as many, since only the inputs have gradients.
    """
    layers = shape.backbone_parameters * tokens
    attention = shape.layers * shape.hidden * squares  # scores and weighted values: 2 products of n^2 / 2
    head = shape.vocabulary * shape.hidden * targets
    return (4.0 if frozen else 6.0) * (layers + head) + 6.0 * attention


def peak(device: torch.device) -> float | None:
    """Peak FLOP/s of a device; None if unknown."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for part, flops in DENSE_BF16.items() if part in name), None)
