"""What a build shows while it runs: a live line on a terminal, a plain line every 30 s in a log."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.background import BackgroundLoop
from pipeline.monitoring.progress import StageTally
from pipeline.monitoring.time_left import TimeLeft

LOG_EVERY = 30.0
"""Seconds between plain lines."""

_EVERY = 1.0
"""Seconds between two rounds of the live line."""

_TIMEOUT = 5.0
"""Seconds to wait for the progress actor in one round."""


class BuildDisplay:
    """Shows the progress of a build on stderr."""

    def __init__(self, work: Mapping[str, Mapping[str, float]], stages: Sequence[str], cpus: float) -> None:
        """`work` is unit -> stage -> estimated audio seconds that the stage has to run."""
        self.left = TimeLeft(work, stages, cpus)
        self.stages = stages
        self.console = Console(stderr=True)
        self.live = self.console.is_terminal
        self._shown = time.monotonic()

    @contextmanager
    def following(self, progress: Any) -> Iterator[None]:
        """Show what the progress actor reports while the context is open."""
        import ray

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        task = bar.add_task("loading models", total=1.0)

        def show() -> None:
            # Raises where a busy actor answers late, which skips this round.
            tallies: Mapping[str, StageTally] = ray.get(progress.read.remote(), timeout=_TIMEOUT)
            line = self.line(tallies, time.time())
            if self.live:
                bar.update(task, completed=self.left.share(tallies), description=line)
            elif time.monotonic() - self._shown > LOG_EVERY:
                self._shown = time.monotonic()
                message(line)

        if self.live:
            bar.start()
        try:
            with BackgroundLoop(show, _EVERY, patience=_TIMEOUT + 1):
                yield
        finally:
            bar.stop()

    def line(self, tallies: Mapping[str, StageTally], now: float) -> str:
        """`21% | about 12 min left | 3 set aside | decode 0.47 h, diarize 0.30 h ..`

        `now` is in seconds since the epoch. A narrow terminal cuts the end off.
        """
        left = self.left.seconds(tallies, now)
        audio = (tallies.get(stage, StageTally()).audio_seconds / 3600 for stage in self.stages)
        parts = [
            f"{self.left.share(tallies):.0%}",
            "loading models" if not tallies else "estimating" if left is None else duration(left),
            f"{sum(tally.set_aside for tally in tallies.values())} set aside",
            ", ".join(f"{stage} {hours:.2f} h" for stage, hours in zip(self.stages, audio, strict=True)),
        ]
        return " | ".join(parts)


def message(text: str) -> None:
    """Print a line of its own on stderr; a live line stays below it."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Time left, for people: never more exact than the estimate is."""
    if seconds < 10:
        return "almost done"
    if seconds < 100:
        return f"about {round(seconds, -1):.0f} s left"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min left"
    return f"about {seconds / 3600:.1f} h left"
