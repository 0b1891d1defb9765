"""Cross entropy of the head's predictions, with logits of only a few positions in memory at a time."""

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.distributed.tensor import DTensor

CHUNK = 1024
"""Positions whose logits are in memory at once: 0.3 GB in float32 for Step-1's vocabulary."""


def token_losses(x_ND: Tensor, head_VD: Tensor, targets_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """Negative log-probabilities of the targets, loss_N in float32, differentiable with any weights on them.

    x_ND are the head's inputs at the N positions, head_VD is its weight. The backward pass recomputes each
    chunk's logits, in float32 whatever the head's precision. A head whose vocabulary is sharded evenly over
    processes (a DTensor on a mesh of one dimension) is not gathered: all processes have the same x_ND and
    targets, and only sums per position are communicated.
    """
    shard = HeadShard(0, None)
    if isinstance(head_VD, DTensor):
        mesh, head_VD = head_VD.device_mesh, head_VD.to_local()
        shard = HeadShard(mesh.get_local_rank() * len(head_VD), mesh.get_group())
    return cast(Tensor, _LinearCrossEntropy.apply(x_ND, head_VD, targets_N, chunk, shard))


@dataclass(frozen=True)
class HeadShard:
    """The rows of the head that a process holds."""

    first: int
    group: dist.ProcessGroup | None
    """The processes that hold the other rows; None if there are none."""

    def reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> None:
        if self.group is not None:
            dist.all_reduce(tensor, operation, self.group)


class _LinearCrossEntropy(Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, head_VD: Tensor, targets_N: Tensor, chunk: int, shard: HeadShard
    ) -> Tensor:
        largest_N, total_N, score_N = torch.zeros(3, len(x_ND), dtype=torch.float32, device=x_ND.device)
        own_N, is_own_N = _own(targets_N, head_VD, shard)
        for at in _chunks(len(x_ND), chunk):
            logits_CV = (x_ND[at] @ head_VD.T).float()
            largest_N[at] = logits_CV.amax(-1)
            score_N[at] = logits_CV.gather(1, own_N[at, None]).squeeze(1) * is_own_N[at]
            total_N[at] = logits_CV.sub_(largest_N[at, None]).exp_().sum(-1)
        own_largest_N = largest_N.clone()
        shard.reduce(largest_N, dist.ReduceOp.MAX)
        total_N *= (own_largest_N - largest_N).exp()
        shard.reduce(total_N)
        shard.reduce(score_N)
        partition_N = largest_N + total_N.log()
        ctx.save_for_backward(x_ND, head_VD, targets_N, partition_N)
        ctx.chunk, ctx.shard = chunk, shard
        return cast(Tensor, partition_N - score_N)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient_N: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        x_ND, head_VD, targets_N, partition_N = ctx.saved_tensors
        own_N, is_own_N = _own(targets_N, head_VD, ctx.shard)
        x_gradient_ND = torch.empty_like(x_ND, dtype=torch.float32)
        is_trained = ctx.needs_input_grad[1]
        head_gradient_VD = torch.zeros_like(head_VD, dtype=torch.float32) if is_trained else None
        for at in _chunks(len(x_ND), ctx.chunk):
            # d loss / d logits: the probabilities, minus one at the target.
            g_CV = (x_ND[at] @ head_VD.T).float().sub_(partition_N[at, None]).exp_()
            g_CV.scatter_add_(1, own_N[at, None], -is_own_N[at, None])
            g_CV = g_CV.mul_(gradient_N[at, None]).to(head_VD.dtype)
            x_gradient_ND[at] = (g_CV @ head_VD).float()
            if head_gradient_VD is not None:
                head_gradient_VD += g_CV.T @ x_ND[at]
        ctx.shard.reduce(x_gradient_ND)
        if head_gradient_VD is not None:
            head_gradient_VD = head_gradient_VD.to(head_VD.dtype)
        return x_gradient_ND.to(x_ND.dtype), head_gradient_VD, None, None, None


def _own(targets_N: Tensor, head_VD: Tensor, shard: HeadShard) -> tuple[Tensor, Tensor]:
    """Rows of the targets in this shard of the head, and 1.0 for those in it (else the row is arbitrary)."""
    rows_N = targets_N - shard.first
    is_own_N = (rows_N >= 0) & (rows_N < len(head_VD))
    return rows_N.clamp(0, len(head_VD) - 1), is_own_N.float()


def _chunks(n: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, n)) for start in range(0, n, chunk)]


def weighted_mean(losses_N: Tensor, weights_N: Tensor, total: float | Tensor) -> Tensor:
    """The part of these targets in the mean over a global batch, whose weights add up to `total`.

    The parts of all ranks and accumulation steps add up to the mean: sum(weight * loss) / sum(weight).
    """
    return (losses_N * weights_N).sum() / total
