"""The record of a build while it runs: an event log, GPU hours, and the seconds of each stage."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.background import BackgroundLoop
from pipeline.monitoring.event_log import EventLog
from pipeline.monitoring.gpu_budget import GpuHours
from pipeline.monitoring.progress import UnitReport
from pipeline.monitoring.stage_times import StageWork

_EVERY = 1.0
"""Seconds between two collections from the progress actor."""


class BuildRecorder:
    def __init__(self, log: EventLog | None = None, max_gpu_hours: float | None = None) -> None:
        self.log = log or EventLog(None)
        self.gpus = GpuHours(max_gpu_hours)
        self.cpus = 0.0
        """Of the cluster."""
        self._sums: dict[str, list[float]] = {}
        self._workers: dict[str, set[tuple[str, int]]] = {}

    @property
    def work(self) -> dict[str, StageWork]:
        """What the workers of each stage computed."""
        return {
            name: StageWork(seconds, cpu, audio, workers=len(self._workers[name]))
            for name, (seconds, cpu, audio) in self._sums.items()
        }

    def start(self) -> None:
        """Count the work of a build, or of a partition of one, from zero; GPU hours go on."""
        self._sums, self._workers = {}, {}
        self.gpus.start()

    @contextmanager
    def following(self, progress: Any) -> Iterator[None]:
        """Record what is reported to the progress actor while the context is open."""
        import ray

        self.cpus = ray.cluster_resources().get("CPU", 1.0)

        def collect() -> None:
            self._add(ray.get(progress.collect.remote(), timeout=5))
            self.gpus.update(progress)

        with BackgroundLoop(collect, _EVERY, patience=11, final_round=True):
            yield

    def _add(self, reports: list[UnitReport]) -> None:
        for report in reports:
            self.log.unit(report)
            if report.computed:
                sums = self._sums.setdefault(report.stage, [0.0, 0.0, 0.0])
                for index, value in enumerate((report.seconds, report.cpu_seconds, report.audio_seconds)):
                    sums[index] += value
                self._workers.setdefault(report.stage, set()).add((report.node, report.process))
