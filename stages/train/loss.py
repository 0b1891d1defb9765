"""Cross entropy of the head's predictions, without logits of more than a few positions in memory."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

CHUNK = 1024
"""Positions whose logits stand in memory at once: 0.3 GB in float32 at Step-1's vocabulary."""


def token_losses(x_ND: Tensor, head_VD: Tensor, targets_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """Negative log-probabilities of the targets, loss_N in float32, differentiable with any weights on them.

    x_ND is what the head reads at the N positions, head_VD its weight. Backward computes each chunk's
    logits again instead of keeping them, in float32 whatever the head computes in.
    """
    return cast(Tensor, _LinearCrossEntropy.apply(x_ND, head_VD, targets_N, chunk))


class _LinearCrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, head_VD: Tensor, targets_N: Tensor, chunk: int) -> Tensor:
        partition_N = torch.empty(len(x_ND), dtype=torch.float32, device=x_ND.device)
        score_N = torch.empty_like(partition_N)
        for at in _chunks(len(x_ND), chunk):
            logits_CV = (x_ND[at] @ head_VD.T).float()
            partition_N[at] = logits_CV.logsumexp(-1)
            score_N[at] = logits_CV.gather(1, targets_N[at, None]).squeeze(1)
        ctx.save_for_backward(x_ND, head_VD, targets_N, partition_N)
        ctx.chunk = chunk
        return partition_N - score_N

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient_N: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x_ND, head_VD, targets_N, partition_N = ctx.saved_tensors
        x_gradient_ND = torch.empty_like(x_ND)
        head_gradient_VD = torch.zeros_like(head_VD, dtype=torch.float32)
        for at in _chunks(len(x_ND), ctx.chunk):
            # d loss / d logits: the probabilities, less one at the target.
            g_CV = (x_ND[at] @ head_VD.T).float().sub_(partition_N[at, None]).exp_()
            g_CV[torch.arange(len(g_CV), device=g_CV.device), targets_N[at]] -= 1
            g_CV = g_CV.mul_(gradient_N[at, None]).to(head_VD.dtype)
            x_gradient_ND[at] = g_CV @ head_VD
            head_gradient_VD += g_CV.T @ x_ND[at]
        return x_gradient_ND, head_gradient_VD.to(head_VD.dtype), None, None


def _chunks(n: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, n)) for start in range(0, n, chunk)]


def weighted_mean(losses_N: Tensor, weights_N: Tensor, total: float) -> Tensor:
    """The part of these targets in the mean over a global batch, whose weights add up to `total`.

    The parts of all ranks and accumulation steps add up to the mean: sum(weight * loss) / sum(weight).
    """
    return (losses_N * weights_N).sum() / total
