"""The first steps of a training run from random weights, without its checkpoints."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from stages.train.config import TrainConfig
from stages.train.loop import Trainer, TrainingData
from stages.train.model import Step1
from stages.train.parallel import joined, parallelize
from stages.train.shape import Shape

ENDLESS = {"steps": 1_000_000, "checkpoint_every": 1_000_000, "warmup": 0}
"""Settings of a run that never comes to a checkpoint."""


class StepsDone(Exception):  # noqa: N818 (not an error)
    """All wanted steps are done."""


def first_steps(shape: Shape, config: TrainConfig, data: TrainingData, steps: int) -> list[dict[str, Any]]:
    """The metrics of each step, on the GPU if there is one."""
    lines: list[dict[str, Any]] = []

    def on_step(metrics: dict[str, Any]) -> None:
        lines.append(metrics)
        if len(lines) == steps:
            raise StepsDone

    with tempfile.TemporaryDirectory() as folder, joined(config.tensor_parallel) as world:
        with torch.device("meta"):
            model = Step1(shape)
        endless = config.model_copy(update=ENDLESS)
        parallelize(model, world, endless)
        model.to_empty(device=world.device)
        with suppress(StepsDone):
            trainer = Trainer(endless, data, model, Path(folder), world)
            trainer.finish(lambda: initialised(model), on_step)
    return lines


def initialised(model: Step1) -> str:
    model.initialise(0)
    return "random"
