"""Processes of a training: this one, those of torchrun, or workers of Ray Train.

All of them call the same job, and find the state of the run in its folder.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pipeline.background import BackgroundLoop
from pipeline.cluster.ray import running
from pipeline.training.recipe import WorkersConfig
from schemas.errors import SetupError
from stages.train.progress import ProgressCallback

_TROUBLE = "trouble.txt"
_RAY = "ray"


class Job(Protocol):
    """A run, as every process is told of it: it pickles."""

    @property
    def folder(self) -> Path: ...

    def __call__(self, said: ProgressCallback = ...) -> None:
        """Take part in it; `said` hears each step's metrics, in the first process."""


def is_first() -> bool:
    """Whether this process is the one that speaks, among those of torchrun."""
    return os.environ.get("RANK", "0") == "0"


def launch(job: Job, workers: WorkersConfig, said: ProgressCallback) -> None:
    """Train in the processes that the recipe asks for; under torchrun in those that there are. Raises
    SetupError."""
    if "RANK" in os.environ or workers.count == 1:
        job(said)
    else:
        _on_ray(job, workers, said)


def _check_room(workers: WorkersConfig) -> None:
    """Raise SetupError where the workers could never be placed: Ray would wait for ever."""
    import ray

    there = ray.cluster_resources()
    wanted, gpus = workers.count * workers.cpus, workers.count if workers.gpu else 0
    if wanted > there.get("CPU", 0) or gpus > there.get("GPU", 0):
        raise SetupError(
            f"{workers.count} workers take {wanted:g} cores and {gpus} GPUs, and there are "
            f"{there.get('CPU', 0):g} and {there.get('GPU', 0):g}: lower workers.count or workers.cpus, or "
            "name a cluster by RAY_ADDRESS"
        )


def _on_ray(job: Job, workers: WorkersConfig, said: ProgressCallback) -> None:
    """Workers that died are started again and go on from the last checkpoint."""
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    trouble, ray_folder = job.folder / _TROUBLE, job.folder / _RAY
    trouble.unlink(missing_ok=True)
    shutil.rmtree(ray_folder, ignore_errors=True)  # where a run lies is the run's folder alone
    with running(), _following(job.folder / "metrics.jsonl", said):
        _check_room(workers)
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"job": job, "trouble": trouble},
            scaling_config=ScalingConfig(
                num_workers=workers.count,
                use_gpu=workers.gpu,
                resources_per_worker={"CPU": workers.cpus} | ({"GPU": 1} if workers.gpu else {}),
            ),
            run_config=RunConfig(
                name=_RAY,
                storage_path=str(job.folder),
                failure_config=FailureConfig(max_failures=workers.retries),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            if not trouble.exists():
                reason = str(error).strip().splitlines()[-1]
                raise SetupError(
                    f"the workers died {workers.retries + 1} times: {reason}. The last checkpoint is good; "
                    "the same command goes on from it"
                ) from error
    shutil.rmtree(ray_folder, ignore_errors=True)
    if trouble.exists():
        raise SetupError(trouble.read_text())


def _worker(told: dict[str, Any]) -> None:
    """What a worker does. Trouble that another start would not mend is written down, and ends them all."""
    if told["trouble"].exists():
        return
    try:
        told["job"]()
    except SetupError as error:
        told["trouble"].write_text(str(error))
        raise


@contextmanager
def _following(metrics: Path, said: ProgressCallback) -> Iterator[None]:
    """Tell of each line that another process appends to a file, while the context is open."""
    from stages.train.metrics import read_metrics

    last = len(read_metrics(metrics)) - 1 if metrics.exists() else -1

    def follow() -> None:
        nonlocal last
        for line in read_metrics(metrics) if metrics.exists() else ():
            if line["step"] > last:
                last = line["step"]
                said(line)

    with BackgroundLoop(follow, 1.0, final_round=True):
        yield
