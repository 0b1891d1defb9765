"""Ray: running it, and sharing its nodes among the stages.

Ray Data waits silently and indefinitely when its actors can't all be placed; so what each requests is
worked out, and placed on the nodes in a trial, before anything starts.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.background import BackgroundLoop
from pipeline.cluster import ray_start
from pipeline.planning.plan import PlannedStage
from schemas.errors import SetupError

SPARE_CPUS = 0.4
"""CPUs of the cluster left for the processes that distribute units and collect results; they need little."""

WORKER_NICENESS = 1
"""By how much workers are nicer than their driver. Ray's default, 15, leaves them next to nothing on a
machine with other work; at 0 they would compete with Ray's own processes, which must answer in time."""

_NODE_DIED = (
    "\naqaa-data: Ray's node on this machine has died: its process (raylet) was killed by a user, or by the "
    "system because memory ran out. Committed work is kept; run the same command again to resume"
)


@dataclass(frozen=True)
class Capacity:
    """What a node has, or what a worker requests."""

    cpus: float
    gpus: float
    memory_gb: float

    def __str__(self) -> str:
        return f"{self.cpus:.3g} CPUs, {self.gpus:.3g} GPUs, {self.memory_gb:.3g} GB"

    def holds(self, request: "Capacity") -> bool:
        return self.cpus >= request.cpus and self.gpus >= request.gpus and self.memory_gb >= request.memory_gb

    def without(self, taken: "Capacity") -> "Capacity":
        # Rounded as Ray does, or ten tenths would not add up to one.
        left = (self.cpus - taken.cpus, self.gpus - taken.gpus, self.memory_gb - taken.memory_gb)
        return Capacity(*(round(value, 4) for value in left))


def this_machine() -> Capacity:
    """What a build on this machine alone can use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return Capacity(float(len(os.sched_getaffinity(0))), float(gpus), memory)


def cpu_share(stages: Sequence[PlannedStage], nodes: Sequence[Capacity]) -> float:
    """The factor on every stage's CPUs, at most 1, with which the smallest pools fit."""
    wanted = sum(stage.resources.cpus * stage.resources.actors[0] for stage in stages)
    return min(1.0, (sum(node.cpus for node in nodes) - SPARE_CPUS) / wanted)


def requests(stages: Sequence[PlannedStage], nodes: Sequence[Capacity]) -> dict[str, Capacity]:
    """What a worker of each stage requests, so that the smallest pools can all be placed.

    Where there are too few, CPUs and fractions of a GPU are scaled down; whole GPUs and memory are not.
    Raises SetupError with the stage and the numbers if they still don't fit.
    """
    _check_sums(stages, nodes)
    gpus = sum(stage.resources.gpus * stage.resources.actors[0] for stage in stages)
    gpu_share = min(1.0, sum(node.gpus for node in nodes) / gpus) if gpus else 1.0
    # A CPU is a share of time: smaller shares fit where larger ones fall between the nodes.
    for share in (cpu_share(stages, nodes) * 0.7**attempt for attempt in range(12)):
        each = {stage.name: _request(stage, share, gpu_share) for stage in stages}
        unplaced = _unplaced(stages, each, nodes)
        if unplaced is None:
            return each
    assert unplaced is not None
    raise SetupError(
        f"a worker of stage {unplaced} needs {each[unplaced].gpus:g} GPUs and "
        f"{each[unplaced].memory_gb:g} GB, and no node has room for that next to the other stages; the nodes "
        f"have {'; '.join(map(str, nodes))}. Lower resources.{unplaced}, or use larger nodes"
    )


def _check_sums(stages: Sequence[PlannedStage], nodes: Sequence[Capacity]) -> None:
    """Raise SetupError if the stages need more than all nodes have together."""
    if sum(node.cpus for node in nodes) <= SPARE_CPUS:
        raise SetupError("the cluster has no CPUs for the stages: add nodes that have some")
    for kind, unit in (("gpus", "GPUs"), ("memory_gb", "GB of memory")):
        available = sum(getattr(node, kind) for node in nodes)
        needs = {stage.name: getattr(stage.resources, kind) * stage.resources.actors[0] for stage in stages}
        scalable = kind == "gpus" and available and all(stage.resources.gpus <= 1 for stage in stages)
        if sum(needs.values()) > available and not scalable:
            most = max(needs, key=lambda name: needs[name])
            raise SetupError(
                f"stage {most} needs {needs[most]:g} {unit}, all stages together {sum(needs.values()):g}, "
                f"and there are {available:.3g}: lower resources.{most}.{kind} or its actors, or add nodes"
            )


def _request(stage: PlannedStage, cpu_share: float, gpu_share: float) -> Capacity:
    wanted = stage.resources
    gpus = wanted.gpus if wanted.gpus > 1 else math.floor(wanted.gpus * gpu_share * 1e4) / 1e4
    return Capacity(math.floor(wanted.cpus * cpu_share * 1e4) / 1e4, gpus, wanted.memory_gb)


def _unplaced(
    stages: Sequence[PlannedStage], requests: dict[str, Capacity], nodes: Sequence[Capacity]
) -> str | None:
    """A stage whose smallest pool can't be placed when the largest workers are placed first, or None."""
    left = list(nodes)
    workers = [
        (requests[stage.name], stage.name) for stage in stages for _ in range(stage.resources.actors[0])
    ]
    for worker, stage in sorted(workers, key=lambda w: (-w[0].gpus, -w[0].memory_gb, -w[0].cpus)):
        place = next((n for n, node in enumerate(left) if node.holds(worker)), None)
        if place is None:
            return stage
        left[place] = left[place].without(worker)
    return None


@contextmanager
def running(
    worker_niceness: int = WORKER_NICENESS, on_progress: Callable[[str], None] | None = None
) -> Iterator[Capacity]:
    """A running Ray while the context is open: the cluster of RAY_ADDRESS, else one started on this machine.

    Yields what the cluster has in total. `worker_niceness` is for one on this machine. Raises SetupError.
    """
    import ray

    node = None
    if address := os.environ.get("RAY_ADDRESS"):
        ray_start.join(address)
    else:
        if on_progress:
            on_progress("starting Ray on this machine")
        node = ray_start.start(worker_niceness)
    # Ray would print about dying workers on stdout, which belongs to the output of the command.
    ray._private.worker._worker_logs_enabled = False
    try:
        with _node_watched(node):
            total = ray.cluster_resources()
            yield Capacity(total.get("CPU", 0), total.get("GPU", 0), total.get("memory", 0) / 1e9)
    finally:
        ray.shutdown()


@contextmanager
def _node_watched(node: Any) -> Iterator[None]:
    """Print a message when the node of this process dies: Ray ends the process silently after that."""

    def check() -> None:
        if any(kind == "raylet" for kind, _ in node.dead_processes()):
            print(_NODE_DIED, file=sys.stderr, flush=True)
            os._exit(1)

    with BackgroundLoop(check, 0.5) if node is not None else nullcontext():
        yield


def alive_nodes() -> dict[str, Capacity]:
    """Node id -> what the node has in total."""
    import ray

    return {
        node["NodeID"]: Capacity(
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["Resources"].get("memory", 0.0) / 1e9,
        )
        for node in ray.nodes()
        if node["Alive"]
    }
