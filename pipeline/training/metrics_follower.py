"""Follows the metrics that another process appends to a file."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.background import BackgroundLoop
from stages.train.progress import ProgressCallback

POLL_SECONDS = 1.0


class MetricsFollower:
    """Reads each line of a metrics.jsonl once. Steps that the file already has at the start don't count as
    new, and neither do steps that a restarted run repeats."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._incomplete = b""
        self._last_step = -1
        self.new_metrics()

    def new_metrics(self) -> list[dict[str, Any]]:
        """Metrics of the steps that were completely written since the last call."""
        self._follow_replacement()
        if self._file is None:
            return []
        *lines, self._incomplete = (self._incomplete + self._file.read()).split(b"\n")
        found = []
        for metrics in map(json.loads, lines):
            if metrics["step"] > self._last_step:
                self._last_step = metrics["step"]
                found.append(metrics)
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _follow_replacement(self) -> None:
        """Open the file if it is new: a restarted run replaces it with one that ends at its checkpoint."""
        try:
            current = self._path.stat()
        except FileNotFoundError:
            return
        if self._file is not None:
            opened = os.fstat(self._file.fileno())
            if os.path.samestat(opened, current) and current.st_size >= self._file.tell():
                return
            self.close()
        self._file, self._incomplete = self._path.open("rb"), b""


@contextmanager
def following(
    path: Path, on_progress: ProgressCallback, refresh: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Report each step that another process appends to a metrics.jsonl while the context is open. `refresh`
    is called before each look at the file."""
    follower = MetricsFollower(path)

    def follow() -> None:
        refresh()
        for metrics in follower.new_metrics():
            on_progress(metrics)

    try:
        with BackgroundLoop(follow, POLL_SECONDS, final_round=True):
            yield
    finally:
        follower.close()
