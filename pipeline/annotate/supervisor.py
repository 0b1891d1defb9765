"""The watch over a build: who has what in hand, and whether anything moves.

`Supervisor` is an actor beside the driver; `guarded` looks at it from the driver and ends a build that stands
still, which Ray Data would wait for without an end.
"""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.background import BackgroundLoop
from pipeline.cluster.ray import Capacity, alive_nodes
from pipeline.ledger.worker_deaths import TaskInProgress
from pipeline.monitoring.progress import ProgressActor
from pipeline.planning.plan import PlannedStage
from schemas.errors import SetupError

BEAT = 10.0
"""Seconds between the signs of life of a worker."""

_BUSY = 0.03
"""Share of a processor that tells work from waiting."""

_LOOK = 2.0
"""Seconds between two looks of the driver."""

_LOST = 300.0
"""Seconds without an answer after which Ray counts as gone; on a busy machine it takes a minute to start."""


@dataclass(frozen=True)
class State:
    still: float
    """Seconds since something was begun, ended or computed."""
    in_hand: tuple[tuple[TaskInProgress, float], ...]
    """What is worked on, and for how many seconds."""
    workers: tuple[tuple[str, str], ...]
    """Stage and node of every worker that ever came."""
    trouble: str | None


@dataclass
class Supervisor(ProgressActor):
    """What the stages report to; it holds nothing that a build could not begin without."""

    in_hand: dict[str, tuple[TaskInProgress, float]] = field(default_factory=dict)
    workers: dict[str, tuple[str, str]] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    lost_loading: Counter[str] = field(default_factory=Counter)
    moved: float = field(default_factory=time.monotonic)

    def arrive(self, worker: str, stage: str, node: str) -> TaskInProgress | None:
        """A worker comes; what the process that it takes the place of had in hand when it died."""
        self.workers[worker] = (stage, node)
        self.processor.pop(worker, None)
        return self.in_hand[worker][0] if worker in self.in_hand else None

    def begin(self, worker: str, task: TaskInProgress) -> None:
        self.in_hand[worker] = (task, time.monotonic())
        self.moved = time.monotonic()

    def end(self, worker: str) -> None:
        self.in_hand.pop(worker, None)
        self.moved = time.monotonic()

    def beat(self, worker: str, seconds: float) -> None:
        """A worker's processor time so far."""
        before = self.processor.setdefault(worker, seconds)
        if worker in self.in_hand and seconds - before > BEAT * _BUSY:
            self.moved = time.monotonic()
        self.processor[worker] = seconds

    def died_loading(self, stage: str) -> int:
        """Count a worker that died over its models; how many since one had them."""
        self.lost_loading[stage] += 1
        return self.lost_loading[stage]

    def ready(self, stage: str) -> None:
        super().ready(stage)
        self.lost_loading[stage] = 0

    def state(self) -> State:
        now = time.monotonic()
        tasks = tuple((task, now - since) for task, since in self.in_hand.values())
        return State(now - self.moved, tasks, tuple(self.workers.values()), self.trouble)


def beside_the_driver() -> Any:
    """A `Supervisor` on the node of this process: it goes when the driver goes, and with no other node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    again = {"max_restarts": -1, "max_task_retries": -1}
    return (
        ray.remote(Supervisor).options(name="watch", num_cpus=0, scheduling_strategy=here, **again).remote()
    )


@contextmanager
def guarded(
    watch: Any, stages: Sequence[PlannedStage], requests: dict[str, Capacity], stall: float
) -> Iterator[None]:
    """While the context is open, end it with SetupError after `stall` seconds in which nothing moves.

    Belongs into the main thread, which it interrupts.
    """
    import ray

    trouble: list[str] = []
    heard = time.monotonic()

    def look() -> None:
        nonlocal heard
        if trouble:
            return
        try:
            state: State = ray.get(watch.state.remote(), timeout=_LOOK)
            heard = time.monotonic()
            if state.trouble:
                trouble.append(state.trouble)
            elif state.still > stall:
                trouble.append(told(state, stages, requests, alive_nodes()))
        except Exception as error:
            if time.monotonic() - heard > _LOST:
                trouble.append(f"Ray doesn't answer any more ({type(error).__name__})")
        if trouble and not loop.stopped:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    # A real signal: nothing less wakes a thread that waits for a lock.
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    loop = BackgroundLoop(look, _LOOK, patience=2 * _LOOK)
    loop.start()
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        said = trouble or _trouble(watch)
        if said:
            raise SetupError(said[0]) from error
        raise
    finally:
        loop.stop()
        signal.signal(signal.SIGALRM, before)


def told(
    state: State, stages: Sequence[PlannedStage], requests: dict[str, Capacity], nodes: dict[str, Capacity]
) -> str:
    """A stall in words: which stage, on what, and what it would need."""
    said = [f"stopped, because nothing has moved for {state.still:.0f} s"]
    for task, seconds in state.in_hand:
        if task.node in nodes:
            what = f"unit {task.unit} ({', '.join(task.recordings[:3])})" if task.unit else "its models"
            said.append(
                f"A worker of {task.stage} (process {task.process}) has {what} in hand for {seconds:.0f} s "
                "and doesn't compute"
            )
    have = "; ".join(map(str, nodes.values())) or "nothing"
    for stage in stages:
        placed = sum(name == stage.name and node in nodes for name, node in state.workers)
        least = stage.resources.actors[0]
        if placed < least:
            said.append(
                f"{placed} of at least {least} workers of {stage.name} have a place: each needs "
                f"{requests[stage.name]}, and the nodes have {have}"
            )
    return ". ".join([*said, "What is committed is kept, and the same command goes on"])


def _trouble(watch: Any) -> list[str]:
    """What a stage said of the set-up before its exception came here."""
    import ray

    try:
        state: State = ray.get(watch.state.remote(), timeout=_LOOK)
    except Exception:  # Ray may be gone, which it says in many ways
        return []
    return [state.trouble] if state.trouble else []
