"""What a build shows while it runs: a live line on a terminal, a plain line now and then in a log.

The stages report to a `ProgressActor`, which counts for the display, for Prometheus and for the event log.
"""

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.background import BackgroundLoop
from pipeline.monitoring.metrics import Meters

LOG_EVERY = 30.0
"""Seconds between plain lines."""


EVENTS = 100_000
"""Reports that are kept until the driver takes them; without a driver that does, the oldest go."""


@dataclass(frozen=True)
class Report:
    """What a stage did with one unit."""

    unit: str
    stage: str
    recordings: int
    computed: int
    """Recordings that it ran; the others were committed before."""
    audio_seconds: float
    seconds: float
    """That its worker was busy."""
    cpu_seconds: float
    recordings_aside: int
    set_aside: dict[str, int]
    """Reason -> recordings and turns."""
    bytes_read: int
    """Of the recordings that it ran."""
    bytes_written: int
    gpus: float
    """That its worker holds."""
    node: str
    process: int
    at: float = field(default_factory=time.time)
    """Seconds since the epoch."""


@dataclass
class Tally:
    """Counts of one stage so far."""

    audio_seconds: float = 0.0
    busy_seconds: float = 0.0
    set_aside: int = 0


@dataclass
class ProgressActor:
    """A small Ray actor that the stages report to; it holds nothing that the build depends on."""

    stages: dict[str, Tally] = field(default_factory=dict)
    trouble: str | None = None
    """What is wrong with the set-up, where a stage could not go on."""
    loaded: dict[str, float] = field(default_factory=dict)
    """When the first worker of a stage had loaded its models, seconds since the epoch."""

    expected: int = 0
    """Units of the build."""
    order: list[str] = field(default_factory=list)
    """The stages as units go through them."""
    through: dict[str, set[str]] = field(default_factory=dict)
    """Stage -> units."""
    events: deque[Report] = field(default_factory=lambda: deque(maxlen=EVENTS))
    meters: Meters | None = None

    def expect(self, units: int, stages: list[str]) -> None:
        """What is to come."""
        self.expected, self.order = units, stages

    def report(self, report: Report) -> None:
        """A stage is through with a unit; a second report of the same, after a death, counts once."""
        through = self.through.setdefault(report.stage, set())
        if report.unit in through:
            return
        through.add(report.unit)
        tally = self.stages.setdefault(report.stage, Tally())
        tally.audio_seconds += report.audio_seconds
        tally.busy_seconds += report.seconds
        tally.set_aside += report.recordings_aside
        self.events.append(report)
        self._measure(report)

    def hold(self, gpu_seconds: float) -> None:
        """GPUs were held so long since the last time."""
        self._meters().add("aqaa_gpu_hours", gpu_seconds / 3600)

    def _measure(self, report: Report) -> None:
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
        """Stage -> units that the one before it is through with and it is not."""
        through = [self.expected, *(len(self.through.get(name, ())) for name in self.order)]
        return {name: through[n] - through[n + 1] for n, name in enumerate(self.order)}

    def _meters(self) -> Meters:
        if self.meters is None:
            self.meters = Meters()
        return self.meters

    def take(self) -> list[Report]:
        """The reports since the last time."""
        taken = list(self.events)
        self.events.clear()
        return taken

    def ready(self, stage: str) -> None:
        self.loaded.setdefault(stage, time.time())

    def ready_at(self) -> dict[str, float]:
        return self.loaded

    def read(self) -> dict[str, Tally]:
        return self.stages

    def stop(self, trouble: str) -> None:
        self.trouble = self.trouble or trouble

    def stopped(self) -> str | None:
        return self.trouble


class Display:
    """Shows a build's state on stderr until it is closed."""

    def __init__(self, total_seconds: float, stages: list[str]) -> None:
        self.total = max(total_seconds, 1e-9)
        self.stages = stages
        self.started = time.monotonic()
        self.console = Console(stderr=True)
        self.live = self.console.is_terminal
        self._said = self.started

    def say(self, text: str) -> None:
        """A line of its own."""
        if self.live:
            self.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def watching(self, board: Any) -> Iterator[None]:
        """Follow a board while the context is open."""
        import ray

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        task = bar.add_task("starting", total=self.total)

        def show() -> None:
            tallies = ray.get(board.read.remote(), timeout=5)
            last = tallies.get(self.stages[-1], Tally())
            if self.live:
                bar.update(task, completed=last.audio_seconds, description=self.line(tallies))
            elif time.monotonic() - self._said > LOG_EVERY:
                self._said = time.monotonic()
                self.say(self.line(tallies))

        if self.live:
            bar.start()
        try:
            with BackgroundLoop(show, 1.0, patience=6):
                yield
        finally:
            bar.stop()

    def line(self, tallies: dict[str, Tally]) -> str:
        """`0.21 of 0.47 h | decode 0.47 .. | 12x real time | 40 s left | 3 set aside`"""
        done = tallies.get(self.stages[-1], Tally()).audio_seconds
        # Each stage's share of the way counts, so that the estimate lives before the first unit is through.
        way = sum(tallies.get(stage, Tally()).audio_seconds for stage in self.stages) / len(self.stages)
        elapsed = time.monotonic() - self.started
        left = elapsed * (self.total - way) / way if way else 0.0
        parts = [f"{done / 3600:.2f} of about {self.total / 3600:.2f} h"]
        parts.append(" ".join(f"{s} {tallies.get(s, Tally()).audio_seconds / 3600:.2f}" for s in self.stages))
        parts.append(f"{way / elapsed:.1f} x real time")
        parts.append(f"{max(0.0, left):.0f} s left" if way else "models are loading")
        parts.append(f"{sum(t.set_aside for t in tallies.values())} set aside")
        return " | ".join(parts)
