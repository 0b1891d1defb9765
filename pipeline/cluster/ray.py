"""Ray: starting it, sharing its nodes among the stages, and ending it.

Ray Data waits for ever, silently, when its actors can't all be placed; so what each asks for is worked out
and placed on paper before anything starts.
"""

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.background import BackgroundLoop
from pipeline.planning.plan import PlannedStage
from schemas.errors import SetupError

SPARE_CPUS = 0.4
"""Of every cluster, for what hands out units and collects them; it does no work to speak of."""

_NODE_DIED = (
    "\naqaa-data: Ray's node on this machine has died: its process (raylet) was killed by somebody, or by "
    "the system for want of memory. What is committed is kept, and the same command goes on"
)


@dataclass(frozen=True)
class Capacity:
    """What a node has, or what a worker asks for."""

    cpus: float
    gpus: float
    memory_gb: float

    def __str__(self) -> str:
        return f"{self.cpus:.3g} CPUs, {self.gpus:.3g} GPUs, {self.memory_gb:.3g} GB"

    def holds(self, asked: "Capacity") -> bool:
        return self.cpus >= asked.cpus and self.gpus >= asked.gpus and self.memory_gb >= asked.memory_gb

    def without(self, taken: "Capacity") -> "Capacity":
        # In Ray's own grain, or ten tenths would not make a whole.
        left = (self.cpus - taken.cpus, self.gpus - taken.gpus, self.memory_gb - taken.memory_gb)
        return Capacity(*(round(value, 4) for value in left))


def this_machine() -> Capacity:
    """What a build on this machine alone can count on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return Capacity(float(len(os.sched_getaffinity(0))), float(gpus), memory)


def cpu_share(stages: Sequence[PlannedStage], nodes: Sequence[Capacity]) -> float:
    """The factor on every stage's CPUs with which the smallest pools fit, at most 1."""
    wanted = sum(stage.resources.cpus * stage.resources.actors[0] for stage in stages)
    return min(1.0, (sum(node.cpus for node in nodes) - SPARE_CPUS) / wanted)


def requests(stages: Sequence[PlannedStage], nodes: Sequence[Capacity]) -> dict[str, Capacity]:
    """What a worker of each stage asks for, so that the smallest pools have a place together.

    CPUs shrink where there are too few, and fractions of a GPU too; GPUs that are asked for whole and memory
    don't. Raises SetupError, naming the stage and the numbers, where that is not enough.
    """
    _check_sums(stages, nodes)
    gpus = sum(stage.resources.gpus * stage.resources.actors[0] for stage in stages)
    gpu_share = min(1.0, sum(node.gpus for node in nodes) / gpus) if gpus else 1.0
    # A CPU is a share of time: smaller shares fit where larger ones fall between the nodes.
    for share in (cpu_share(stages, nodes) * 0.7**again for again in range(12)):
        asked = {stage.name: _asked(stage, share, gpu_share) for stage in stages}
        homeless = _homeless(stages, asked, nodes)
        if homeless is None:
            return asked
    assert homeless is not None
    raise SetupError(
        f"a worker of stage {homeless} needs {asked[homeless].gpus:g} GPUs and "
        f"{asked[homeless].memory_gb:g} GB, and beside the other stages no node has room for that; the nodes "
        f"have {'; '.join(map(str, nodes))}. Lower resources.{homeless}, or take larger nodes"
    )


def _check_sums(stages: Sequence[PlannedStage], nodes: Sequence[Capacity]) -> None:
    """Refuse what all nodes together don't have."""
    if sum(node.cpus for node in nodes) <= SPARE_CPUS:
        raise SetupError("the cluster has no CPUs for the stages yet: start nodes that have some")
    for kind, unit in (("gpus", "GPUs"), ("memory_gb", "GB of memory")):
        there = sum(getattr(node, kind) for node in nodes)
        needs = {stage.name: getattr(stage.resources, kind) * stage.resources.actors[0] for stage in stages}
        shrinks = kind == "gpus" and there and all(stage.resources.gpus <= 1 for stage in stages)
        if sum(needs.values()) > there and not shrinks:
            most = max(needs, key=lambda name: needs[name])
            raise SetupError(
                f"stage {most} needs {needs[most]:g} {unit}, all stages together {sum(needs.values()):g}, "
                f"and there are {there:.3g}: lower resources.{most}.{kind} or its actors, or add nodes"
            )


def _asked(stage: PlannedStage, cpu_share: float, gpu_share: float) -> Capacity:
    wanted = stage.resources
    gpus = wanted.gpus if wanted.gpus > 1 else math.floor(wanted.gpus * gpu_share * 1e4) / 1e4
    return Capacity(math.floor(wanted.cpus * cpu_share * 1e4) / 1e4, gpus, wanted.memory_gb)


def _homeless(
    stages: Sequence[PlannedStage], asked: dict[str, Capacity], nodes: Sequence[Capacity]
) -> str | None:
    """A stage whose smallest pool finds no place when the largest workers choose first; None if all do."""
    left = list(nodes)
    workers = [(asked[stage.name], stage.name) for stage in stages for _ in range(stage.resources.actors[0])]
    for worker, stage in sorted(workers, key=lambda w: (-w[0].gpus, -w[0].memory_gb, -w[0].cpus)):
        home = next((n for n, node in enumerate(left) if node.holds(worker)), None)
        if home is None:
            return stage
        left[home] = left[home].without(worker)
    return None


@contextmanager
def running() -> Iterator[Capacity]:
    """A Ray that runs while the context is open: the cluster of RAY_ADDRESS, else one on this machine."""
    import ray

    node = None
    if address := os.environ.get("RAY_ADDRESS"):
        _started(f"can't join the Ray of RAY_ADDRESS={address}", address=address)
    else:
        with _quiet():
            cpus = max(2, len(os.sched_getaffinity(0)))
            _started("Ray doesn't start on this machine", num_cpus=cpus, include_dashboard=False)
        node = ray._private.worker._global_node
    # It would print of workers that die, on stdout, which belongs to what a command answers.
    ray._private.worker._worker_logs_enabled = False
    try:
        with _outliving(node):
            total = ray.cluster_resources()
            yield Capacity(total.get("CPU", 0), total.get("GPU", 0), total.get("memory", 0) / 1e9)
    finally:
        ray.shutdown()


@contextmanager
def _outliving(node: Any) -> Iterator[None]:
    """Ray ends this process without a word when the node that it began has died: have the last one."""

    def look() -> None:
        if any(kind == "raylet" for kind, _ in node.dead_processes()):
            print(_NODE_DIED, file=sys.stderr, flush=True)
            os._exit(1)

    with BackgroundLoop(look, 0.5) if node is not None else nullcontext():
        yield


def _started(trouble: str, **options: Any) -> None:
    """Start or join Ray. It gives up after half a minute, which is short on a machine that is busy."""
    import ray

    for last in (True,) if "address" in options else (False, False, True):
        try:
            with _hearing_sigterm():
                ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
            return
        except Exception as error:  # of many types, the plain one among them
            ray.shutdown()
            if last:
                reason = str(error).strip().split("\n", 1)[0][:300]
                raise SetupError(f"{trouble}: {reason}") from error


@contextmanager
def _hearing_sigterm() -> Iterator[None]:
    """Ray puts a handler of its own in place, which ends the process without a word: put ours back."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as stopped:
        raise KeyboardInterrupt from stopped
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)


def alive_nodes() -> dict[str, Capacity]:
    """Node id -> what the node has in all."""
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
