"""Entry point of every process of a training run: alone, under torchrun, or in a worker of Ray Train.

The environment variables RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT identify the process;
without them it is the only one. All processes must see the run's folder, or share what is in it through a
store (`Remote`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from schemas.errors import SetupError
from stages.train import checkpoint, lora
from stages.train.backbone import blank
from stages.train.config import LoRAConfig, TrainConfig
from stages.train.folder import MODEL, claim, claim_base, emptied, recorded
from stages.train.loop import Trainer, TrainingData
from stages.train.model import Backbone, Step1
from stages.train.parallel import World, joined, parallelize
from stages.train.progress import ProgressCallback
from stages.train.remote import Remote
from stages.train.shape import PRESETS
from stages.train.validation import Validation, Validator


@dataclass(frozen=True)
class Start:
    """The initial weights: random ones of a preset, for the version's vocabulary, or a checkpoint, which is a
    folder in the public layout."""

    preset: str | None = None
    seed: int = 0
    checkpoint: Path | None = None
    origin: str | None = None
    """What a run's record calls the checkpoint, if its folder is a copy."""

    def __post_init__(self) -> None:
        if (self.preset is None) == (self.checkpoint is None):
            raise SetupError("a run starts from a preset or from a checkpoint: name one of them")
        if self.preset is not None and self.preset not in PRESETS:
            raise SetupError(f"there is no preset {self.preset}: choose one of {', '.join(PRESETS)}")

    def describe(self) -> dict[str, Any]:
        if self.checkpoint is not None:
            return {"checkpoint": self.origin or str(self.checkpoint.resolve())}
        return {"preset": self.preset, "seed": self.seed}

    def blank(self, vocabulary: int) -> Backbone:
        """The model on the meta device. Raises SetupError if it has fewer ids than the version."""
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
        """Load each process's part of the weights; returns a name that identifies these weights."""
        if self.checkpoint is not None:
            directory = self.checkpoint
            checkpoint.load_into(model, directory)
            return world.first(lambda: checkpoint.sha256(directory)[:16])
        model.initialise(self.seed)
        return f"{self.preset}-{self.seed}"


def _rounded(vocabulary: int) -> int:
    """Rounded up to a multiple that suits matrix units and processes that split the head."""
    return -(-vocabulary // 64) * 64


def _adapt(model: Backbone, config: LoRAConfig, start: Start, data: TrainingData) -> None:
    if start.checkpoint is None:
        raise SetupError(f"the run starts from random weights of {start.preset}: `lora` needs a checkpoint")
    lora.adapt(model, config, data.vocabulary)
    checkpoint.freeze_as_stored(model, start.checkpoint)


def _load(
    start: Start, model: Backbone, config: TrainConfig, folder: Path, world: World, place: str | None
) -> str:
    name = start.load(model, world)
    if config.lora:
        world.first(lambda: claim_base(folder, name, place))
        lora.initialise(model, config.seed)
    return name


_COMPUTATION = {
    "checkpoint_every",
    "micro_batch",
    "tensor_parallel",
    "activation_checkpointing",
    "compile",
    "validation",
}
"""Settings of how a run is computed and measured, not of its result: a stopped run may resume with others."""


def run(
    config: TrainConfig,
    open_data: Callable[[], TrainingData],
    start: Start,
    folder: Path,
    on_progress: ProgressCallback = lambda metrics: None,
    validation: Validation | None = None,
    remote: Remote | None = None,
) -> Path:
    """Train, and return the folder of the finished model, which is in the run's folder.

    A finished run is left unchanged, and a stopped one resumes from its last checkpoint, on any number of
    processes that divides its batch. `on_progress` is called with each step's metrics in the first process;
    `validation` adds to them, and changes nothing of what is trained. With `remote` each process has a folder
    of its own, with what the store had of it before, and checkpoints are in the store alone.
    Raises SetupError, in all processes, if the folder holds another run, if model, data and processes don't
    fit together, or if the loss is not finite.
    """
    with joined(config.tensor_parallel) as world:
        data = open_data()
        record = {"config": recorded(config, _COMPUTATION), "start": start.describe()}
        place = remote.uri if remote else None
        world.first(lambda: claim(folder, {**record, **data.identity}, place))
        if remote:
            world.first(remote.push)  # before anything is made for these settings
        finished = folder / MODEL
        if not world.first(finished.exists):
            size = data.vocabulary["size"]
            model = start.blank(size)
            if config.lora:
                _adapt(model, config.lora, start, data)
            parallelize(model, world, config)
            model.to_empty(device=world.device)
            validator = Validator(validation, model, lambda: start.blank(size), world) if validation else None
            trainer = Trainer(config, data, model, folder, world, remote)
            trainer.finish(lambda: _load(start, model, config, folder, world, place), on_progress, validator)
            partial = folder / f".{MODEL}.partial"
            world.first(lambda: emptied(partial))
            checkpoint.save(model, partial, dict(data.vocabulary), writes=world.is_first)
            world.first(lambda: partial.rename(finished))
        return finished
