"""What a build shows while it runs: a live line on a terminal, a plain line now and then in a log."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

LOG_EVERY = 30.0
"""Seconds between plain lines."""


@dataclass
class Tally:
    """Counts of one stage so far."""

    audio_seconds: float = 0.0
    busy_seconds: float = 0.0
    set_aside: int = 0


@dataclass
class Board:
    """A small Ray actor that the stages report to; it holds nothing that the build depends on."""

    stages: dict[str, Tally] = field(default_factory=dict)
    trouble: str | None = None
    """What is wrong with the set-up, where a stage could not go on."""
    loaded: dict[str, float] = field(default_factory=dict)
    """When the first worker of a stage had loaded its models, seconds since the epoch."""

    def add(self, stage: str, audio_seconds: float, busy_seconds: float, set_aside: int) -> None:
        tally = self.stages.setdefault(stage, Tally())
        tally.audio_seconds += audio_seconds
        tally.busy_seconds += busy_seconds
        tally.set_aside += set_aside

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
        stop = threading.Event()

        def follow() -> None:
            while not stop.wait(1.0):
                try:
                    tallies = ray.get(board.read.remote(), timeout=5)
                except Exception:  # the build says what is wrong; the display only stops
                    return
                last = tallies.get(self.stages[-1], Tally())
                if self.live:
                    bar.update(task, completed=last.audio_seconds, description=self.line(tallies))
                elif time.monotonic() - self._said > LOG_EVERY:
                    self._said = time.monotonic()
                    self.say(self.line(tallies))

        thread = threading.Thread(target=follow, daemon=True)
        if self.live:
            bar.start()
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=6)
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
