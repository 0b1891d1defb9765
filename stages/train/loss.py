"""Cross entropy of the head's predictions, without logits of more than a few positions in memory."""

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.distributed.tensor import DTensor

CHUNK = 1024
"""Positions whose logits stand in memory at once: 0.3 GB in float32 at Step-1's vocabulary."""


def token_losses(x_ND: Tensor, head_VD: Tensor, targets_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """Negative log-probabilities of the targets, loss_N in float32, differentiable with any weights on them.

    x_ND is what the head reads at the N positions, head_VD its weight. Backward computes each chunk's
    logits again instead of keeping them, in float32 whatever the head computes in. A head whose vocabulary
    is shared out evenly over processes (a DTensor on a mesh of one dimension) stays where it is: all of them
    have the same x_ND and targets, and only sums per position travel.
    """
    shard = HeadShard(0, None)
    if isinstance(head_VD, DTensor):
        mesh, head_VD = head_VD.device_mesh, head_VD.to_local()
        shard = HeadShard(mesh.get_local_rank() * len(head_VD), mesh.get_group())
    return cast(Tensor, _LinearCrossEntropy.apply(x_ND, head_VD, targets_N, chunk, shard))


@dataclass(frozen=True)
class HeadShard:
    """Which ids a process has the head of."""

    first: int
    group: dist.ProcessGroup | None
    """The processes that have the others; None where there are none."""

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
    def backward(ctx: Any, gradient_N: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x_ND, head_VD, targets_N, partition_N = ctx.saved_tensors
        own_N, is_own_N = _own(targets_N, head_VD, ctx.shard)
        x_gradient_ND = torch.empty_like(x_ND, dtype=torch.float32)
        head_gradient_VD = torch.zeros_like(head_VD, dtype=torch.float32)
        for at in _chunks(len(x_ND), ctx.chunk):
            # d loss / d logits: the probabilities, less one at the target.
            g_CV = (x_ND[at] @ head_VD.T).float().sub_(partition_N[at, None]).exp_()
            g_CV.scatter_add_(1, own_N[at, None], -is_own_N[at, None])
            g_CV = g_CV.mul_(gradient_N[at, None]).to(head_VD.dtype)
            x_gradient_ND[at] = (g_CV @ head_VD).float()
            head_gradient_VD += g_CV.T @ x_ND[at]
        ctx.shard.reduce(x_gradient_ND)
        return x_gradient_ND.to(x_ND.dtype), head_gradient_VD.to(head_VD.dtype), None, None, None


def _own(targets_N: Tensor, head_VD: Tensor, shard: HeadShard) -> tuple[Tensor, Tensor]:
    """Rows of the targets in this shard of the head, and 1.0 where they are in it (else the row is any)."""
    rows_N = targets_N - shard.first
    is_own_N = (rows_N >= 0) & (rows_N < len(head_VD))
    return rows_N.clamp(0, len(head_VD) - 1), is_own_N.float()


def _chunks(n: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, n)) for start in range(0, n, chunk)]


def weighted_mean(losses_N: Tensor, weights_N: Tensor, total: float | Tensor) -> Tensor:
    """The shard of these targets in the mean over a global batch, whose weights add up to `total`.

    The parts of all ranks and accumulation steps add up to the mean: sum(weight * loss) / sum(weight).
    """
    return (losses_N * weights_N).sum() / total
