"""AdamW and its learning rate schedule."""

import math

import torch
import torch.distributed as dist
from torch import nn

from stages.train.config import TrainConfig
from stages.train.model import Backbone
from stages.train.sharded import copies, own


def adamw(model: Backbone, config: TrainConfig) -> torch.optim.AdamW:
    """Matrices have weight decay, vectors (the norms) have none; embeddings and head have their own rate.

    `factor` of a group multiplies its learning rate.
    """
    ends = {id(parameter) for end in model.ends for parameter in end.parameters()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [p for p in trainable if id(p) in ends],
            "weight_decay": config.weight_decay,
            "factor": config.embedding_lr_multiplier,
        },
        {
            "params": [p for p in trainable if id(p) not in ends and p.dim() > 1],
            "weight_decay": config.weight_decay,
            "factor": 1.0,
        },
        {
            "params": [p for p in trainable if id(p) not in ends and p.dim() == 1],
            "weight_decay": 0.0,
            "factor": 1.0,
        },
    ]
    groups = [group for group in groups if group["params"]]
    # On CPUs it takes a fifth of the time of one operation after the other, which is felt in small steps.
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Learning rate of a step (from 0): linear warm-up, then cosine decay from the peak to the final rate."""
    warmup_steps = math.ceil(config.warmup * steps)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    above = (config.learning_rate - config.final_learning_rate) * (1 + math.cos(math.pi * done)) / 2
    return config.final_learning_rate + above


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


@torch.no_grad()
def clip_gradients(model: nn.Module, max_norm: float) -> float:
    """Scale gradients down if their norm is above `max_norm`; returns the norm before."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    squares = [torch.linalg.vector_norm(own(grad)).square() / copies(grad) for grad in gradients]
    total = torch.stack(squares).sum()
    dist.all_reduce(total)
    norm = total.sqrt()
    torch._foreach_mul_([own(grad) for grad in gradients], (max_norm / (norm + 1e-6)).clamp(max=1))
    return norm.item()
