"""Where the encoders run, how exactly, and what happens when memory there is short."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from stages.tokenize.step_audio.layers import Conv1d, Linear

Precision = Literal["float32", "tf32", "bfloat16"]
Part = TypeVar("Part")
Done = TypeVar("Done")


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def set_precision(precision: Precision, *models: nn.Module) -> None:
    """How exactly this process multiplies; bfloat16 keeps norms and sums between layers in float32."""
    faster = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = faster
    torch.backends.cudnn.conv.fp32_precision = faster  # type: ignore[attr-defined]
    if precision == "bfloat16":
        for model in models:
            for layer in model.modules():
                if isinstance(layer, Linear | Conv1d):
                    layer.to(torch.bfloat16)


def sent(array: np.ndarray, device: torch.device) -> Tensor:
    """An array on the device; the copy runs beside whatever is computed there."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def halving(work: Callable[[Sequence[Part]], Done], parts: Sequence[Part]) -> list[Done]:
    """`work` on all parts, or on the first and the second half of them where GPU memory doesn't suffice."""
    try:
        return [work(parts)]
    except torch.OutOfMemoryError:
        if len(parts) == 1:
            raise
    # Outside the handler: the error held the tensors of what failed.
    torch.cuda.empty_cache()
    middle = len(parts) // 2
    return [*halving(work, parts[:middle]), *halving(work, parts[middle:])]
