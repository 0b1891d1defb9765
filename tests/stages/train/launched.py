"""Training on several processes of this machine, started and supervised as torchrun does it."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from stages.train.config import TrainConfig
from stages.train.loop import TrainingData
from stages.train.run import Start, run
from stages.train.validation import Validation
from tests.stages.train.open_documents import documents_in


@dataclass(frozen=True)
class Job:
    """A run, as it is passed to every process."""

    config: TrainConfig
    shards: list[Path]
    ids: dict[str, Any]
    start: Start
    folder: Path
    killed_at: int | None = None
    """Step after which the first process kills itself, once."""
    validation: Validation | None = None
    held_out: list[Path] | None = None
    """Shards of the validation side."""

    def train(self) -> Path:

        torch.set_num_threads(1)
        on_progress = self._die if self.killed_at is not None else lambda metrics: None
        return run(self.config, self._open, self.start, self.folder, on_progress, self.validation)

    def _open(self) -> TrainingData:
        held_out = documents_in(self.held_out) if self.held_out else None
        return TrainingData(documents_in(self.shards), self.ids, {"version": "1"}, held_out)

    def _die(self, metrics: dict[str, Any]) -> None:
        died = self.folder / "died"
        if metrics["step"] == self.killed_at and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def launch(processes: int, job: Callable[..., Any], *arguments: Any, restarts: int = 0) -> list[Any]:
    """The results of `job` in each process. Raises ChildFailedError once one has failed more than `restarts`
    times."""
    # Imported once, in place of once in each process.
    multiprocessing.set_forkserver_preload(
        ["stages.train.run", "torch._dynamo", "torch.utils.tensorboard", "pandas"]
    )
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=restarts,
        start_method="forkserver",
    )
    answers = elastic_launch(config, job)(*arguments)
    return [answers[rank] for rank in range(processes)]
