"""Precision of the encoders, and copies to their device."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from stages.tokenize.step_audio.layers import Conv1d, Linear

Precision = Literal["float32", "tf32", "bfloat16"]


def set_precision(precision: Precision, *models: nn.Module) -> None:
    """Set the precision of matrix products in this process.

    For bfloat16, convert the linear layers and convolutions of the models; norms and residuals stay float32.
    """
    faster = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = faster
    torch.backends.cudnn.conv.fp32_precision = faster  # type: ignore[attr-defined]
    if precision == "bfloat16":
        for model in models:
            for layer in model.modules():
                if isinstance(layer, Linear | Conv1d):
                    layer.to(torch.bfloat16)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to the device, asynchronously for a GPU."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
