"""The processes of a training: this one, those of torchrun, or workers of Ray Train.

All of them call the same job, which finds the state of the run in its folder.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pipeline.cluster.ray import running
from pipeline.storage.store import Store
from pipeline.training.metrics_follower import following
from pipeline.training.recipe import WorkersConfig
from schemas.errors import SetupError, StoreUnreachableError
from stages.train.progress import ProgressCallback

_ERROR_FILE = "trouble.txt"
_RAY_FOLDER = "ray"
_STORE_WAIT = 60.0
"""Seconds that a worker waits for a store before it is restarted, up to `workers.retries` times."""


class TrainingJob(Protocol):
    """A run, as it is passed to every process: it pickles."""

    @property
    def folder(self) -> Path:
        """Of the run, on this machine."""

    @property
    def place(self) -> Store:
        """Where all processes find what is in that folder."""

    def refresh(self) -> None:
        """Bring the metrics in the folder up to date, if it isn't the one that the first process writes."""

    def __call__(self, on_progress: ProgressCallback = ...) -> None:
        """Take part in the run; `on_progress` is called in the first process."""


def is_first() -> bool:
    """Whether this process is the one that prints, among those of torchrun."""
    return os.environ.get("RANK", "0") == "0"


def launch(job: TrainingJob, workers: WorkersConfig, on_progress: ProgressCallback) -> None:
    """Train in the number of processes that the recipe requests, or under torchrun in those that it started.
    Raises SetupError."""
    # The driver of a cluster's job may have no GPU.
    elsewhere = workers.count > 1 or (workers.gpu and "RAY_ADDRESS" in os.environ)
    if "RANK" in os.environ or not elsewhere:
        job(on_progress)
    else:
        _on_ray(job, workers, on_progress)


def _check_capacity(workers: WorkersConfig) -> None:
    """Raise SetupError if the workers could never be placed: Ray would wait forever."""
    import ray

    available = ray.cluster_resources()
    cpus, gpus = workers.count * workers.cpus, workers.count if workers.gpu else 0
    if cpus > available.get("CPU", 0) or gpus > available.get("GPU", 0):
        raise SetupError(
            f"{workers.count} workers need {cpus:g} cores and {gpus} GPUs, and Ray has "
            f"{available.get('CPU', 0):g} and {available.get('GPU', 0):g}: lower workers.count or "
            "workers.cpus, or connect to a larger cluster with RAY_ADDRESS"
        )


def _on_ray(job: TrainingJob, workers: WorkersConfig, on_progress: ProgressCallback) -> None:
    """Workers that die are restarted and resume from the last checkpoint."""
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    ray_folder = job.folder / _RAY_FOLDER
    job.place.delete([_ERROR_FILE])
    shutil.rmtree(ray_folder, ignore_errors=True)  # the state of a run is in the run's folder, not in Ray's
    with running(), following(job.folder / "metrics.jsonl", on_progress, job.refresh):
        _check_capacity(workers)
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"job": job},
            scaling_config=ScalingConfig(
                num_workers=workers.count,
                use_gpu=workers.gpu,
                resources_per_worker={"CPU": workers.cpus} | ({"GPU": 1} if workers.gpu else {}),
            ),
            run_config=RunConfig(
                name=_RAY_FOLDER,
                storage_path=str(job.folder),
                failure_config=FailureConfig(max_failures=workers.retries),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            if not _is_told(job):
                raise SetupError(_workers_failed(error, workers)) from error
    shutil.rmtree(ray_folder, ignore_errors=True)
    if job.place.exists(_ERROR_FILE):
        raise SetupError(job.place.get(_ERROR_FILE).decode())


def _is_told(job: TrainingJob) -> bool:
    """Whether a worker has written down an error; not if the store doesn't answer."""
    with suppress(StoreUnreachableError):
        return job.place.exists(_ERROR_FILE)
    return False


def _workers_failed(error: Exception, workers: WorkersConfig) -> str:
    """The message for an error that is no SetupError of a worker. Ray's may have no text at all."""
    lines = str(error).strip().splitlines()
    reason = (
        f"{type(error).__name__}: {lines[-1].strip()}" if lines else f"{type(error).__name__}, no message"
    )
    return (
        f"the workers failed {workers.retries + 1} times; the last error was {reason}. The last checkpoint "
        "is intact: fix the cause (Ray's output above has the traceback) and run the same command to resume"
    )


def _worker(arguments: dict[str, Any]) -> None:
    """What a worker runs. A SetupError, which a restart would not fix, is written down and ends all
    workers; a store that doesn't answer is waited for, and tried again by the restarted workers."""
    job: TrainingJob = arguments["job"]
    try:
        if job.place.exists(_ERROR_FILE):
            return
        job()
    except StoreUnreachableError:
        time.sleep(_STORE_WAIT)
        raise
    except SetupError as error:
        # A file without text would not be shown.
        job.place.put(_ERROR_FILE, (str(error) or f"{type(error).__name__}, no message").encode())
        raise
