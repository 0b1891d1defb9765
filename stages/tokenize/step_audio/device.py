"""Device and precision of the encoders, and a fallback for limited GPU memory."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from stages.tokenize.step_audio.layers import Conv1d, Linear

Precision = Literal["float32", "tf32", "bfloat16"]
Item = TypeVar("Item")
Result = TypeVar("Result")


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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


def halving_on_oom(work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """`work(items)`, or its results on halves of the items, as small as GPU memory requires.

    Raises torch.OutOfMemoryError if memory is too small for a single item.
    """
    try:
        return [work(items)]
    except torch.OutOfMemoryError:
        if len(items) == 1:
            raise
    # Outside of the handler, because the error references the tensors of the failed attempt.
    torch.cuda.empty_cache()
    middle = len(items) // 2
    return [*halving_on_oom(work, items[:middle]), *halving_on_oom(work, items[middle:])]
