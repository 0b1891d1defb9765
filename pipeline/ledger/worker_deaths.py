"""Deaths of workers, and which recording is to blame.

A worker that dies (killed for its memory, a crash inside a library) dies over what it has in hand. From then
on the recordings of that unit are worked on one at a time, and one that a worker died over three times
alone is set aside. Each death is a small note in the output store, so that the next run goes on counting;
the loss of a node or of the driver leaves none.
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
"""So many alone are no accident."""

_PROBE = 60.0
"""Seconds in which a node that is there has answered."""


@dataclass(frozen=True)
class TaskInProgress:
    """What a worker has in hand."""

    stage: str
    unit: str
    """Empty while it loads its models."""
    attempt: int
    """0, or the number of this attempt at what was set aside."""
    recordings: tuple[str, ...]
    node: str
    process: int


@dataclass(frozen=True)
class CrashCounts:
    """The deaths over one unit in one stage."""

    alone: Counter[str]
    """Recording, as `_key` -> how often a worker died over it alone."""
    total: int

    def of(self, recording: str) -> int:
        return self.alone[_key(recording)]


def crash_counts(dataset: Store, fingerprint: str, unit: str, attempt: int = 0) -> CrashCounts:
    """What the notes say of one attempt at a unit."""
    notes = [json.loads(data) for data in _notes(dataset, fingerprint, unit, attempt)]
    alone = Counter(note["recordings"][0] for note in notes if len(note["recordings"]) == 1)
    return CrashCounts(alone, len(notes))


def record_crash(dataset: Store, fingerprint: str, lost: TaskInProgress) -> None:
    """Note a death over what was in hand. Names are hashed: a note outlives no removal of its recording."""
    said = {
        "stage": lost.stage,
        "recordings": [_key(recording) for recording in lost.recordings],
        "host": socket.gethostname(),
        "seconds": round(time.time(), 3),
    }
    data = (json.dumps(said, sort_keys=True) + "\n").encode()
    paths = (layout.death(fingerprint, lost.unit, lost.attempt, number) for number in count(1))
    next(path for path in paths if dataset.put_new(path, data))


def alone(lost: TaskInProgress, here: str) -> bool:
    """Whether the worker died without its node; `here` is the node that asks."""
    return lost.node == here or _answers(lost.node)


def _answers(node: str) -> bool:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    probe: Any = ray.remote(_present)
    try:
        asked = probe.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote()
        ray.get(asked, timeout=_PROBE)
    except ray.exceptions.RayError:
        return False
    return True


def _present() -> None:
    """What a node that is there can do."""


def _notes(dataset: Store, fingerprint: str, unit: str, attempt: int) -> Iterator[bytes]:
    for number in count(1):
        try:
            yield dataset.get(layout.death(fingerprint, unit, attempt, number))
        except FileNotFoundError:
            return


def _key(recording: str) -> str:
    return hashlib.sha256(recording.encode()).hexdigest()[:16]
