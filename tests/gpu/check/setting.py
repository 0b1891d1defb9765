"""Where and how a step measures, and the facts that it finds."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Facts = dict[str, Any]
"""What a step found, by name; `wrong` says what is not as it should be."""


@dataclass(frozen=True)
class Setting:
    """What a step is given."""

    device: torch.device
    tiny: bool
    """Small models and inputs, for a machine without a GPU."""
    until: float
    """`time.monotonic()` at which the step is stopped."""
    folder: Path
    """For files of its own."""

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def seconds_left(self) -> float:
        return self.until - time.monotonic()

    def pick(self, full: T, tiny: T) -> T:
        """A size: the full one, or that of a small run."""
        return tiny if self.tiny else full

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object], repeats: int = 3) -> float:
        """Seconds that some work takes: the median, after once to warm up."""
        times = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - began)
        return statistics.median(times[1:])

    def peak_gb(self) -> float | None:
        """Most GPU memory allocated since `reset_peak`, in GB; None on a CPU."""
        return round(torch.cuda.max_memory_allocated() / 1e9, 2) if self.on_gpu else None

    def reset_peak(self) -> None:
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


class CannotRunError(Exception):
    """The step can't run on this machine; the message says why."""


def apart(expected: Tensor, actual: Tensor) -> float:
    """Norm of the difference relative to that of the expected tensor; NaN if there are any."""
    expected, actual = expected.detach().double().cpu(), actual.detach().double().cpu()
    return float((actual - expected).norm() / expected.norm().clamp(min=1e-12))


def at_most(name: str, value: float, most: float) -> Facts:
    """A fact, and that it is wrong if it is larger."""
    told = {name: float(f"{value:.3g}")}
    return told if value <= most else told | {"wrong": f"{name} is {value:.3g}, more than {most:g}"}
