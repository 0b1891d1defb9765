"""AdamW and its learning rate."""

import math

import torch
from torch import nn

from stages.train.config import TrainConfig


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Matrices with weight decay, vectors (the norms) without."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Of a step, from 0: a straight rise, then half a cosine from the highest rate to the final one."""
    rising = math.ceil(config.warmup * steps)
    if step < rising:
        return config.learning_rate * (step + 1) / rising
    done = (step - rising) / max(1, steps - 1 - rising)
    above = (config.learning_rate - config.final_learning_rate) * (1 + math.cos(math.pi * done)) / 2
    return config.final_learning_rate + above
