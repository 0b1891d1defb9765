"""Tensors of which each process holds a part (DTensors). Plain tensors count as held completely."""

import math

from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset


def own(tensor: Tensor) -> Tensor:
    """The part that this process holds, which may be changed in place."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def region(tensor: Tensor) -> tuple[slice, ...]:
    """Where this process's part is in the whole tensor."""
    if not isinstance(tensor, DTensor):
        return tuple(slice(0, size) for size in tensor.shape)
    sizes, offsets = compute_local_shape_and_global_offset(
        tensor.shape, tensor.device_mesh, tensor.placements
    )
    return tuple(slice(at, at + size) for at, size in zip(offsets, sizes, strict=True))


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor. All processes must call this."""
    if not isinstance(tensor, DTensor):
        return tensor
    placements = list(tensor.placements)
    for dimension in range(len(placements)):  # one at a time: both at once is slower, with a warning
        placements[dimension] = Replicate()
        tensor = tensor.redistribute(placements=placements)
    return tensor.to_local()


def copies(tensor: Tensor) -> int:
    """Number of processes that hold the same part."""
    if not isinstance(tensor, DTensor):
        return 1
    sizes = zip(tensor.device_mesh.shape, tensor.placements, strict=True)
    return math.prod(size for size, placement in sizes if placement.is_replicate())
