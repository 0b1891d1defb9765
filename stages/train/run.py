"""What every process of a training run calls: alone, under torchrun, or in a worker of Ray Train.

RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of the environment say which process it is; without
them it is the only one. All processes must see the run's folder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from schemas.errors import SetupError
from stages.train import checkpoint
from stages.train.backbone import blank
from stages.train.config import TrainConfig
from stages.train.folder import MODEL, claim, emptied
from stages.train.loop import Trainer, TrainingData
from stages.train.model import Backbone, Step1
from stages.train.parallel import World, joined, parallelize
from stages.train.progress import ProgressCallback
from stages.train.shape import PRESETS


@dataclass(frozen=True)
class Start:
    """Where the first weights come from: the random ones of a preset, for the version's vocabulary, or a
    checkpoint, which is a folder in the public layout."""

    preset: str | None = None
    seed: int = 0
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        if (self.preset is None) == (self.checkpoint is None):
            raise SetupError("a run starts from a preset or from a checkpoint: name one of them")
        if self.preset is not None and self.preset not in PRESETS:
            raise SetupError(f"there is no preset {self.preset}: one of {', '.join(PRESETS)}")

    def describe(self) -> dict[str, Any]:
        if self.checkpoint is not None:
            return {"checkpoint": str(self.checkpoint.resolve())}
        return {"preset": self.preset, "seed": self.seed}

    def blank(self, vocabulary: int) -> Backbone:
        """The model without its numbers. Raises SetupError where it has fewer ids than the version."""
        with torch.device("meta"):
            if self.checkpoint is None:
                return Step1(PRESETS[str(self.preset)].with_vocabulary(_rounded(vocabulary)))
            model = blank(self.checkpoint)
        if model.shape.vocabulary < vocabulary:
            raise SetupError(
                f"the version has {vocabulary:,} ids and the model only "
                f"{model.shape.vocabulary:,}: start from a model of the version's vocabulary"
            )
        return model

    def load(self, model: Backbone, world: World) -> str:
        """Give each process its part of the weights; returns a name that only these weights have."""
        if self.checkpoint is not None:
            directory = self.checkpoint
            checkpoint.load_into(model, directory)
            return world.first(lambda: checkpoint.sha256(directory)[:16])
        model.initialise(self.seed)
        return f"{self.preset}-{self.seed}"


def _rounded(vocabulary: int) -> int:
    """To what matrix units and processes that share the head divide."""
    return -(-vocabulary // 64) * 64


_HOW = {"checkpoint_every", "micro_batch", "tensor_parallel", "activation_checkpointing", "compile"}
"""Settings of how a run is computed, not of what: a stopped run may go on with others."""


def run(
    config: TrainConfig,
    open_data: Callable[[], TrainingData],
    start: Start,
    folder: Path,
    said: ProgressCallback = lambda metrics: None,
) -> Path:
    """Train; returns the folder of the finished model, in the run's own.

    A finished run is left as it is, a stopped one goes on from its last checkpoint, on any number of
    processes that divides its batch. `said` hears each step's metrics, in the first process.
    Raises SetupError, in all processes, where the folder holds another run, where model, data and processes
    don't fit, or where the loss is no number.
    """
    with joined(config.tensor_parallel) as world:
        data = open_data()
        what = {"config": config.model_dump(mode="json", exclude=_HOW), "start": start.describe()}
        world.first(lambda: claim(folder, {**what, **data.identity}))
        finished = folder / MODEL
        if not world.first(finished.exists):
            model = start.blank(data.vocabulary["size"])
            parallelize(model, world, config)
            model.to_empty(device=world.device)
            Trainer(config, data, model, folder, world).finish(lambda: start.load(model, world), said)
            partial = folder / f".{MODEL}.partial"
            world.first(lambda: emptied(partial))
            checkpoint.save(model, partial, dict(data.vocabulary), writes=world.is_first)
            world.first(lambda: partial.rename(finished))
        return finished
