"""AdamW and its learning rate."""

import math

import torch
import torch.distributed as dist
from torch import nn

from stages.train.config import TrainConfig
from stages.train.model import Backbone
from stages.train.sharded import copies, own


def adamw(model: Backbone, config: TrainConfig) -> torch.optim.AdamW:
    """Matrices with weight decay, vectors (the norms) without; embeddings and head with a rate of their own.

    `factor` of a group is what its rate is of the others'.
    """
    ends = {id(parameter) for end in model.ends for parameter in end.parameters()}
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [p for p in learnt if id(p) in ends],
            "weight_decay": config.weight_decay,
            "factor": config.embedding_lr_multiplier,
        },
        {
            "params": [p for p in learnt if id(p) not in ends and p.dim() > 1],
            "weight_decay": config.weight_decay,
            "factor": 1.0,
        },
        {
            "params": [p for p in learnt if id(p) not in ends and p.dim() == 1],
            "weight_decay": 0.0,
            "factor": 1.0,
        },
    ]
    on_gpu = any(parameter.is_cuda for parameter in learnt)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=on_gpu or None)


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Of a step, from 0: a straight rise, then half a cosine from the highest rate to the final one."""
    rising = math.ceil(config.warmup * steps)
    if step < rising:
        return config.learning_rate * (step + 1) / rising
    done = (step - rising) / max(1, steps - 1 - rising)
    above = (config.learning_rate - config.final_learning_rate) * (1 + math.cos(math.pi * done)) / 2
    return config.final_learning_rate + above


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


@torch.no_grad()
def clip_gradients(model: nn.Module, max_norm: float) -> float:
    """Scale gradients down to the norm `max_norm` where it is above; returns what it was."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    squares = [torch.linalg.vector_norm(own(grad)).square() / copies(grad) for grad in gradients]
    total = torch.stack(squares).sum()
    dist.all_reduce(total)
    norm = total.sqrt()
    torch._foreach_mul_([own(grad) for grad in gradients], (max_norm / (norm + 1e-6)).clamp(max=1))
    return norm.item()
