"""What every process of a training run calls: alone, under torchrun, or in a worker of Ray Train.

RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of the environment say which process it is; without
them it is the only one. All processes must see the run's folder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from schemas.errors import SetupError
from stages.train.checkpoint import load
from stages.train.config import TrainConfig
from stages.train.loop import Data, Said, train
from stages.train.model import Step1
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


def run(
    config: TrainConfig,
    open_data: Callable[[], Data],
    start: Start,
    folder: Path,
    said: Said = lambda metrics: None,
) -> Path:
    """Train; returns the folder of the finished model, in the run's own.

    A finished run is left as it is, a stopped one goes on from its last checkpoint, on any number of
    processes that divides its batch. `said` hears each step's metrics, in the first process.
    Raises SetupError, in all processes, for what `train` does and for a world that doesn't fit.
    """
    data = open_data()
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    if start.checkpoint is not None:
        model = load(start.checkpoint)
    else:
        model = Step1(PRESETS[str(start.preset)].with_vocabulary(data.vocabulary["size"]))
        model.initialise(start.seed)
    return train(config, data, model, folder, device, said)
