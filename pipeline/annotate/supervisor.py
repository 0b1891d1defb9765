"""Supervision of a build: what each worker is doing, and whether anything moves.

`Supervisor` is an actor beside the driver. `guarded` polls it from the driver and ends a build that has
stalled, which Ray Data would wait for indefinitely.
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

HEARTBEAT = 10.0
"""Seconds between the heartbeats of a worker."""

_BUSY = 0.03
"""Share of a processor above which a worker is computing rather than waiting."""

_POLL = 2.0
"""Seconds between two polls of the driver."""

_LOST = 300.0
"""Seconds without an answer after which Ray counts as gone; on a busy machine it takes a minute to start."""


@dataclass(frozen=True)
class BuildState:
    idle: float
    """Seconds since a task last began or ended, or a worker last computed."""
    in_progress: tuple[tuple[TaskInProgress, float], ...]
    """Tasks, each with the seconds since it began."""
    workers: tuple[tuple[str, str], ...]
    """Stage and node of every worker that has ever started."""
    trouble: str | None


@dataclass
class Supervisor(ProgressActor):
    """What the stages report to. Its state isn't needed to resume a build."""

    in_progress: dict[str, tuple[TaskInProgress, float]] = field(default_factory=dict)
    """Worker -> its task, and when that began (monotonic seconds)."""
    workers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Worker -> stage and node."""
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Worker -> CPU seconds of its process at its last heartbeat."""
    lost_loading: Counter[str] = field(default_factory=Counter)
    """Stage -> workers that died while they loaded models, since the last that succeeded."""
    moved: float = field(default_factory=time.monotonic)
    """When the build last moved."""

    def arrive(self, worker: str, stage: str, node: str) -> TaskInProgress | None:
        """Register a worker; returns the task of the process that it replaces, where that died during one."""
        self.workers[worker] = (stage, node)
        self.cpu_seconds.pop(worker, None)
        return self.in_progress[worker][0] if worker in self.in_progress else None

    def begin(self, worker: str, task: TaskInProgress) -> None:
        self.in_progress[worker] = (task, time.monotonic())
        self.moved = time.monotonic()

    def end(self, worker: str) -> None:
        self.in_progress.pop(worker, None)
        self.moved = time.monotonic()

    def busy_workers(self) -> int:
        return len(self.in_progress)

    def heartbeat(self, worker: str, cpu_seconds: float) -> None:
        """Report the CPU seconds that the process of a worker has used so far."""
        before = self.cpu_seconds.setdefault(worker, cpu_seconds)
        if worker in self.in_progress and cpu_seconds - before > HEARTBEAT * _BUSY:
            self.moved = time.monotonic()
        self.cpu_seconds[worker] = cpu_seconds

    def died_loading(self, stage: str) -> int:
        """Count a worker that died while loading models; returns how many did since one last succeeded."""
        self.lost_loading[stage] += 1
        return self.lost_loading[stage]

    def ready(self, stage: str) -> None:
        super().ready(stage)
        self.lost_loading[stage] = 0

    def state(self) -> BuildState:
        now = time.monotonic()
        tasks = tuple((task, now - since) for task, since in self.in_progress.values())
        return BuildState(now - self.moved, tasks, tuple(self.workers.values()), self.trouble)


def beside_the_driver() -> Any:
    """Start a `Supervisor` on the node of this process: it is lost only together with the driver."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    restarts = {"max_restarts": -1, "max_task_retries": -1}
    options = ray.remote(Supervisor).options(
        name="supervisor", num_cpus=0, scheduling_strategy=here, **restarts
    )
    return options.remote()


@contextmanager
def guarded(
    supervisor: Any, stages: Sequence[PlannedStage], requests: dict[str, Capacity], stall: float
) -> Iterator[None]:
    """While the context is open, end it with SetupError after `stall` seconds in which nothing moves.

    Must be used in the main thread, which it interrupts.
    """
    import ray

    trouble: list[str] = []
    last_answer = time.monotonic()

    def poll() -> None:
        nonlocal last_answer
        if trouble:
            return
        try:
            state: BuildState = ray.get(supervisor.state.remote(), timeout=_POLL)
            last_answer = time.monotonic()
            if state.trouble:
                trouble.append(state.trouble)
            elif state.idle > stall:
                trouble.append(stall_message(state, stages, requests, alive_nodes()))
        except Exception as error:
            if time.monotonic() - last_answer > _LOST:
                trouble.append(f"Ray no longer answers ({type(error).__name__})")
        if trouble and not loop.stopped:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    # A real signal: nothing less wakes a thread that waits for a lock.
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    loop = BackgroundLoop(poll, _POLL, patience=2 * _POLL)
    loop.start()
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        reasons = trouble or _trouble(supervisor)
        if reasons:
            raise SetupError(reasons[0]) from error
        raise
    finally:
        loop.stop()
        signal.signal(signal.SIGALRM, before)


def stall_message(
    state: BuildState,
    stages: Sequence[PlannedStage],
    requests: dict[str, Capacity],
    nodes: dict[str, Capacity],
) -> str:
    """A stall in words: which stage, on which recordings, and what it would need."""
    parts = [f"stopped, because nothing has moved for {state.idle:.0f} s"]
    for task, seconds in state.in_progress:
        if task.node in nodes:
            what = (
                f"unit {task.unit} ({', '.join(task.recordings[:3])})" if task.unit else "loading its models"
            )
            parts.append(
                f"A worker of {task.stage} (process {task.process}) has been on {what} for {seconds:.0f} s "
                "without computing"
            )
    available = "; ".join(map(str, nodes.values())) or "nothing"
    for stage in stages:
        placed = sum(name == stage.name and node in nodes for name, node in state.workers)
        minimum = stage.resources.actors[0]
        if placed < minimum:
            parts.append(
                f"{placed} of at least {minimum} workers of {stage.name} could be placed: each needs "
                f"{requests[stage.name]}, and the nodes have {available}"
            )
    return ". ".join([*parts, "Committed work is kept; run the same command again to resume"])


def _trouble(supervisor: Any) -> list[str]:
    """The setup error that a stage reported before its exception arrived here."""
    import ray

    try:
        state: BuildState = ray.get(supervisor.state.remote(), timeout=_POLL)
    except Exception:  # Ray may be gone, which shows as one of many exception types
        return []
    return [state.trouble] if state.trouble else []
