"""Ray: starting it, sharing its CPUs among the stages, and ending it.

Ray Data waits for ever, silently, when its actors can't all be placed; so the shares are worked out
and checked before anything starts.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.plan import PlannedStage
from schemas.errors import SetupError

READ_CPUS = 0.1
"""Of a task that hands out units or collects them; it does no work to speak of."""


@dataclass(frozen=True)
class Capacity:
    cpus: float
    gpus: float
    memory_gb: float


def this_machine() -> Capacity:
    """What a build on this machine alone can count on. GPUs are counted by Ray once it runs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Capacity(float(len(os.sched_getaffinity(0))), 0.0, memory)


def cpu_share(stages: Sequence[PlannedStage], capacity: Capacity) -> float:
    """The factor on every stage's CPUs with which the smallest pools fit, at most 1."""
    wanted = sum(stage.resources.cpus * stage.resources.actors[0] for stage in stages)
    free = capacity.cpus - 4 * READ_CPUS
    return min(1.0, free / wanted)


def check_resources(stages: Sequence[PlannedStage], capacity: Capacity) -> None:
    """Raise SetupError, naming the stage and the numbers, where actors could never be placed."""
    gpus = sum(stage.resources.gpus * stage.resources.actors[0] for stage in stages)
    for stage in stages:
        least = stage.resources.gpus * stage.resources.actors[0]
        if least and gpus > capacity.gpus:
            raise SetupError(
                f"stage {stage.name} needs {least:g} GPUs, all stages together {gpus:g}, and there are "
                f"{capacity.gpus:g}: lower resources.{stage.name}.gpus or add nodes"
            )
    memory = sum(stage.resources.memory_gb * stage.resources.actors[0] for stage in stages)
    if memory > capacity.memory_gb:
        raise SetupError(
            f"the stages need {memory:g} GB of memory together and there are {capacity.memory_gb:.1f}: "
            "lower resources.<stage>.memory_gb or the number of actors"
        )


@contextmanager
def running() -> Iterator[Capacity]:
    """A Ray that runs while the context is open: the cluster of RAY_ADDRESS, else one on this machine."""
    import ray

    address = os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    else:
        with _quiet():
            ray.init(
                num_cpus=max(2, len(os.sched_getaffinity(0))),
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    try:
        total = ray.cluster_resources()
        yield Capacity(total.get("CPU", 0), total.get("GPU", 0), total.get("memory", 0) / 1e9)
    finally:
        ray.shutdown()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray's own processes say at their start, such as their log level, from the user."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
