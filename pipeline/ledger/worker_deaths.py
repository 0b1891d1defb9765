"""Deaths of workers, and which recording caused them.

A worker that dies (killed for its memory, a crash inside a library) takes down the task in progress. After
that the recordings of the unit are processed one at a time, and a recording that killed its worker three
times while it was alone is set aside. Each death is recorded as a small object in the output store, so that
the next run continues to count; the loss of a node or of the driver is not recorded.
"""

import hashlib
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store

DEATHS = 3
"""Deaths over a recording alone after which it is set aside."""

_PROBE = 60.0
"""Seconds in which a node that is alive answers."""


@dataclass(frozen=True)
class TaskInProgress:
    """What a worker is processing."""

    stage: str
    unit: str
    """Empty while the worker loads its models."""
    attempt: int
    """0, or the number of the retry of recordings that were set aside."""
    recordings: tuple[str, ...]
    node: str
    process: int


@dataclass(frozen=True)
class CrashCounts:
    """The deaths over one unit in one stage."""

    alone: Counter[str]
    """Key of a recording (`_key`) -> how often a worker died over it alone."""
    total: int

    def of(self, recording: str) -> int:
        return self.alone[_key(recording)]


def crash_counts(dataset: Store, fingerprint: str, unit: str, attempt: int = 0) -> CrashCounts:
    """The recorded deaths of one attempt at a unit."""
    deaths = [json.loads(data) for data in _recorded(dataset, fingerprint, unit, attempt)]
    alone = Counter(death["recordings"][0] for death in deaths if len(death["recordings"]) == 1)
    return CrashCounts(alone, len(deaths))


def record_crash(dataset: Store, fingerprint: str, lost: TaskInProgress) -> None:
    """Record a death. Recordings are hashed, so that no name outlives the removal of a recording."""
    death = {
        "stage": lost.stage,
        "recordings": [_key(recording) for recording in lost.recordings],
        "host": socket.gethostname(),
        "seconds": round(time.time(), 3),
    }
    data = (json.dumps(death, sort_keys=True) + "\n").encode()
    paths = (layout.death(fingerprint, lost.unit, lost.attempt, number) for number in count(1))
    next(path for path in paths if dataset.put_new(path, data))


def died_alone(lost: TaskInProgress, this_node: str) -> bool:
    """Whether the worker died, but not its node."""
    return lost.node == this_node or _answers(lost.node)


def _answers(node: str) -> bool:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    on_node = NodeAffinitySchedulingStrategy(node, soft=False)
    probe: Any = ray.remote(_nothing)
    try:
        reply = probe.options(num_cpus=0, max_retries=0, scheduling_strategy=on_node).remote()
        ray.get(reply, timeout=_PROBE)
    except ray.exceptions.RayError:
        return False
    return True


def _nothing() -> None:
    """A task that any node which is alive can run."""


def _recorded(dataset: Store, fingerprint: str, unit: str, attempt: int) -> Iterator[bytes]:
    for number in count(1):
        try:
            yield dataset.get(layout.death(fingerprint, unit, attempt, number))
        except FileNotFoundError:
            return


def _key(recording: str) -> str:
    return hashlib.sha256(recording.encode()).hexdigest()[:16]
