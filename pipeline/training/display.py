"""Progress of a training: a live line on a terminal, or a plain line now and then in a log."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.training.launch import is_first
from stages.train.config import TrainConfig
from stages.train.progress import ProgressCallback

LOG_SECONDS = 30.0
"""Between plain lines."""


class PlainLines:
    """When a plain line is due: for the first step, for the last one, and every `LOG_SECONDS` between."""

    def __init__(self) -> None:
        self._last_due = -math.inf

    def due(self, is_last: bool) -> bool:
        now = time.monotonic()
        if not is_last and now - self._last_due <= LOG_SECONDS:
            return False
        self._last_due = now
        return True


class TrainingDisplay:
    """Writes to stderr, in the first process only."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.quiet = not is_first()

    def print(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    @contextmanager
    def stage(self, name: str, config: TrainConfig, folder: Path) -> Iterator[ProgressCallback]:
        """A callback that shows the metrics of each step while the context is open."""
        started, first_step, lines = time.monotonic(), -1, PlainLines()
        steps: int | None = None
        with Live(console=self.console, transient=True, auto_refresh=False) as live:

            def show(metrics: dict[str, Any]) -> None:
                nonlocal first_step, steps
                first_step = metrics["step"] if first_step < 0 else first_step
                steps = steps or _steps(config, folder)
                now = time.monotonic()
                done, left = metrics["step"] - first_step + 1, (steps or 0) - metrics["step"] - 1
                line = _line(name, metrics, steps, left * (now - started) / done)
                if "validation" in metrics:
                    self.print(_validation_line(name, metrics))
                if "answers" in metrics:
                    self.print(_answers_line(name, metrics))
                if self.console.is_terminal and not self.quiet:
                    live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
                elif lines.due(is_last=left == 0):
                    self.print(line)

            yield show


def _line(name: str, metrics: dict[str, Any], steps: int | None, seconds_left: float) -> str:
    """`sft1 12/230 | loss 4.32 (text 3.10 ..) | margin .. | 5,300 tokens/s | 40 s left`"""
    parts = [f"{name} {metrics['step'] + 1}/{steps or '?'}", _losses(metrics)]
    if "dpo" in metrics:
        parts.append(f"margin {metrics['dpo']['margin']:.3f}, accuracy {metrics['dpo']['accuracy']:.0%}")
    parts.append(f"{metrics['tokens_per_second']:,.0f} tokens/s")
    minutes_left = f"{seconds_left / 60:.1f} min left"
    parts.append(minutes_left if seconds_left > 120 else f"{max(0.0, seconds_left):.0f} s left")
    return " | ".join(parts)


def _losses(metrics: dict[str, Any]) -> str:
    """`loss 4.32 (text 3.10 ..)`"""
    losses = " ".join(f"{modality} {loss:.2f}" for modality, loss in metrics["modalities"].items())
    return f"loss {metrics['loss']:.3f} ({losses})"


def _validation_line(name: str, metrics: dict[str, Any]) -> str:
    """`sft1 after 200 steps: validation loss 4.5 (text 3.31 ..)`"""
    return f"{name} after {metrics['step'] + 1} steps: validation {_losses(metrics['validation'])}"


def _answers_line(name: str, metrics: dict[str, Any]) -> str:
    """`sft1 after 500 steps: rules 0.42, grammar 0.98, silent 0`"""
    values = {key: value for key, value in metrics["answers"].items() if not isinstance(value, dict)}
    return f"{name} after {metrics['step'] + 1} steps: " + ", ".join(
        f"{k} {v:.3g}" for k, v in values.items()
    )


def _steps(config: TrainConfig, folder: Path) -> int | None:
    """The number of steps of a run, None until its packing has been written."""
    from stages.train.folder import PACKING
    from stages.train.packing import Packing

    if config.steps:
        return config.steps
    file = folder / PACKING
    if not file.exists():
        return None
    return math.ceil(config.epochs * Packing.load(file).sequences / config.global_batch_size)
