"""Progress of a build: a Ray actor that the stages report to.

It counts for the display, for Prometheus and for the event log.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.monitoring.metrics import Meters

MAX_REPORTS = 100_000
"""Reports kept until the driver collects them; the oldest are dropped when nobody does."""

_RECENT_UNITS = 8
"""Units whose seconds give the current cost of a stage: costs change with the load of the machine."""


@dataclass(frozen=True)
class UnitReport:
    """What a stage did with one unit."""

    unit: str
    stage: str
    recordings: int
    computed: int
    """Recordings that the stage ran; the others had been committed before."""
    audio_seconds: float
    seconds: float
    """Wall seconds that the worker was busy."""
    cpu_seconds: float
    recordings_aside: int
    set_aside: dict[str, int]
    """Reason code -> number of recordings and turns."""
    bytes_read: int
    """Size of the recordings that the stage ran."""
    bytes_written: int
    gpus: float
    """GPUs that the worker holds."""
    node: str
    process: int
    at: float = field(default_factory=time.time)
    """Seconds since the epoch."""


@dataclass
class StageTally:
    """Running counts of one stage."""

    audio_seconds: float = 0.0
    set_aside: int = 0
    done_seconds: float = 0.0
    """Estimated audio seconds of the finished units that the stage had to run."""
    done_units: int = 0
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_RECENT_UNITS))
    """(estimated audio seconds, seconds that a worker with a core of its own takes) of the last units."""
    workers: set[tuple[str, int]] = field(default_factory=set)
    """(node, process) of every worker that finished a unit."""
    last: float = 0.0
    """When the last unit finished, seconds since the epoch."""

    @property
    def cost(self) -> float | None:
        """Seconds of a worker per second of audio, from recent units; None before the first."""
        audio = sum(seconds for seconds, _ in self.recent)
        return sum(busy for _, busy in self.recent) / audio if audio else None


@dataclass
class ProgressActor:
    """Collects the reports of the stages. The build doesn't depend on anything in here."""

    stages: dict[str, StageTally] = field(default_factory=dict)
    trouble: str | None = None
    """The setup error of a stage that could not continue."""
    loaded: dict[str, float] = field(default_factory=dict)
    """Stage -> when its first worker had loaded its models, seconds since the epoch."""
    work: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Unit -> stage -> estimated audio seconds that the stage has to run."""
    order: list[str] = field(default_factory=list)
    """The stages in the order in which units pass through them."""
    cpus: float = 1.0
    """Of the cluster."""
    finished: dict[str, set[str]] = field(default_factory=dict)
    """Stage -> units."""
    reports: deque[UnitReport] = field(default_factory=lambda: deque(maxlen=MAX_REPORTS))
    meters: Meters | None = None

    def expect(self, work: Mapping[str, Mapping[str, float]], stages: list[str], cpus: float) -> None:
        """Set the work of the build: unit -> stage -> audio seconds that the stage has to run."""
        self.work, self.order, self.cpus = work, stages, cpus

    def report(self, report: UnitReport) -> None:
        """Count a unit that a stage has finished; a second report of it, after a crash, is ignored."""
        finished = self.finished.setdefault(report.stage, set())
        if report.unit in finished:
            return
        finished.add(report.unit)
        tally = self.stages.setdefault(report.stage, StageTally())
        tally.audio_seconds += report.audio_seconds
        tally.set_aside += report.recordings_aside
        if seconds := self.work.get(report.unit, {}).get(report.stage):
            tally.done_seconds += seconds
            tally.done_units += 1
            # Workers that outnumber the cores slow each other down, until the first stages are done.
            share = min(1.0, self.cpus / max(1, self.busy_workers()))
            tally.recent.append((seconds, report.seconds * share))
            tally.workers.add((report.node, report.process))
            tally.last = report.at
        self.reports.append(report)
        self._measure(report)

    def hold(self, gpu_seconds: float) -> None:
        """Count GPU seconds held since the last call."""
        self._meters().add("aqaa_gpu_hours", gpu_seconds / 3600)

    def _measure(self, report: UnitReport) -> None:
        meters, stage = self._meters(), report.stage
        meters.add("aqaa_units", 1, stage=stage)
        meters.add("aqaa_recordings", report.recordings, stage=stage)
        meters.add("aqaa_audio_hours", report.audio_seconds / 3600, stage=stage)
        meters.add("aqaa_stage_seconds", report.seconds, stage=stage)
        meters.add("aqaa_stage_cpu_seconds", report.cpu_seconds, stage=stage)
        meters.add("aqaa_bytes_read", report.bytes_read, stage=stage)
        meters.add("aqaa_bytes_written", report.bytes_written, stage=stage)
        meters.add("aqaa_gpu_batches", bool(report.gpus and report.computed), stage=stage)
        for reason, number in report.set_aside.items():
            meters.add("aqaa_set_aside", number, stage=stage, reason=reason)
        for name, waiting in self.queues().items():
            meters.set("aqaa_queue_units", waiting, stage=name)

    def queues(self) -> dict[str, int]:
        """Stage -> units that the previous stage has finished and this one has not."""
        finished = [len(self.work), *(len(self.finished.get(name, ())) for name in self.order)]
        return {name: finished[n] - finished[n + 1] for n, name in enumerate(self.order)}

    def _meters(self) -> Meters:
        if self.meters is None:
            self.meters = Meters()
        return self.meters

    def busy_workers(self) -> int:
        """Workers that compute at the moment."""
        return 1

    def collect(self) -> list[UnitReport]:
        """The reports since the last call."""
        collected = list(self.reports)
        self.reports.clear()
        return collected

    def ready(self, stage: str) -> None:
        """A worker of the stage has loaded its models."""
        self.loaded.setdefault(stage, time.time())

    def ready_at(self) -> dict[str, float]:
        return self.loaded

    def read(self) -> dict[str, StageTally]:
        return self.stages

    def stop(self, trouble: str) -> None:
        """End the build with this message; the first one wins."""
        self.trouble = self.trouble or trouble

    def stopped(self) -> str | None:
        return self.trouble
