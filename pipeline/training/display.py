"""What a training shows while it runs: a live line on a terminal, a plain line now and then in a log."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.training.launch import is_first
from stages.train.config import TrainConfig

LOG_EVERY = 30.0
"""Seconds between plain lines."""


class Display:
    """Speaks on stderr, in the first process alone."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.quiet = not is_first()

    def say(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    @contextmanager
    def stage(
        self, name: str, config: TrainConfig, folder: Path
    ) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Shows the metrics of steps that it is told of, while the context is open."""
        began, first, said = time.monotonic(), -1, -math.inf
        steps: int | None = None
        with Live(console=self.console, transient=True, auto_refresh=False) as live:

            def step(metrics: dict[str, Any]) -> None:
                nonlocal first, said, steps
                first = metrics["step"] if first < 0 else first
                steps = steps or _steps(config, folder)
                now = time.monotonic()
                done, left = metrics["step"] - first + 1, (steps or 0) - metrics["step"] - 1
                line = _line(name, metrics, steps, left * (now - began) / done)
                if self.console.is_terminal and not self.quiet:
                    live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
                elif now - said > LOG_EVERY or left == 0:
                    said = now
                    self.say(line)

            yield step


def _line(name: str, metrics: dict[str, Any], steps: int | None, seconds: float) -> str:
    """`sft1 12/230 | loss 4.32 (text 3.10 ..) | margin .. | 5,300 tokens/s | 40 s left`"""
    each = " ".join(f"{modality} {loss:.2f}" for modality, loss in metrics["modalities"].items())
    parts = [f"{name} {metrics['step'] + 1}/{steps or '?'}", f"loss {metrics['loss']:.3f} ({each})"]
    if "dpo" in metrics:
        parts.append(f"margin {metrics['dpo']['margin']:.3f}, accuracy {metrics['dpo']['accuracy']:.0%}")
    parts.append(f"{metrics['tokens_per_second']:,.0f} tokens/s")
    parts.append(f"{seconds / 60:.1f} min left" if seconds > 120 else f"{max(0.0, seconds):.0f} s left")
    return " | ".join(parts)


def _steps(config: TrainConfig, folder: Path) -> int | None:
    """How many steps there will be; None where the packing is not there yet."""
    from stages.train.folder import PACKING
    from stages.train.packing import Packing

    if config.steps:
        return config.steps
    file = folder / PACKING
    if not file.exists():
        return None
    return math.ceil(config.epochs * Packing.load(file).sequences / config.global_batch_size)
