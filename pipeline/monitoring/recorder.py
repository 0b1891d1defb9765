"""What a build did, taken down while it runs: a log for machines, hours of GPUs, seconds of each stage."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.background import BackgroundLoop
from pipeline.monitoring.event_log import Log
from pipeline.monitoring.gpu_budget import GpuHours
from pipeline.monitoring.progress import Report
from pipeline.monitoring.stage_times import StageWork

_EVERY = 1.0
"""Seconds between two looks at the board."""


class BuildRecorder:
    def __init__(self, log: Log | None = None, max_gpu_hours: float | None = None) -> None:
        self.log = log or Log(None)
        self.gpus = GpuHours(max_gpu_hours)
        self.cpus = 0.0
        """Of the cluster."""
        self._sums: dict[str, list[float]] = {}
        self._workers: dict[str, set[tuple[str, int]]] = {}

    @property
    def work(self) -> dict[str, StageWork]:
        """What each stage's workers computed."""
        return {
            name: StageWork(seconds, cpu, audio, workers=len(self._workers[name]))
            for name, (seconds, cpu, audio) in self._sums.items()
        }

    @contextmanager
    def following(self, board: Any) -> Iterator[None]:
        """Take down what a board is told while the context is open."""
        import ray

        self.cpus = ray.cluster_resources().get("CPU", 1.0)

        def look() -> None:
            self._note(ray.get(board.take.remote(), timeout=5))
            self.gpus.look(board)

        with BackgroundLoop(look, _EVERY, patience=11, final_round=True):
            yield

    def _note(self, reports: list[Report]) -> None:
        for report in reports:
            self.log.unit(report)
            if report.computed:
                sums = self._sums.setdefault(report.stage, [0.0, 0.0, 0.0])
                for index, value in enumerate((report.seconds, report.cpu_seconds, report.audio_seconds)):
                    sums[index] += value
                self._workers.setdefault(report.stage, set()).add((report.node, report.process))
