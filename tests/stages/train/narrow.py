"""A narrow model of the ids of the fixture `ids`, and short runs of it."""

from pathlib import Path
from typing import Any

import torch

from stages.train.config import DPOConfig, TrainConfig
from stages.train.metrics import read_metrics
from stages.train.model import Step1
from stages.train.shape import Shape

SFT = TrainConfig(
    sequence_length=64,
    global_batch_size=4,
    micro_batch=2,
    steps=6,
    learning_rate=3e-3,
    final_learning_rate=3e-4,
    checkpoint_every=2,
    precision="float32",
)
DPO = SFT.model_copy(
    update={
        "objective": "dpo",
        "sequence_length": 120,
        "learning_rate": 1e-3,
        "preference": DPOConfig(beta=0.5),
    }
)


def model(vocabulary: int = 70, seed: int = 0) -> Step1:
    torch.set_num_threads(1)
    model = Step1(Shape(hidden=32, ffn=64, heads=4, groups=2, layers=2, vocabulary=vocabulary, context=128))
    model.initialise(seed)
    return model


def losses(folder: Path) -> list[dict[str, Any]]:
    """A run's metrics without its speed."""
    lines = read_metrics(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key != "tokens_per_second"} for line in lines]
