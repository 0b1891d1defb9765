"""The hours for which a build holds GPUs, and a limit on them."""

import time
from typing import Any


class GpuHours:
    """Hours for which workers held GPUs, idle or not, summed up at every update.

    Counts all GPUs of the cluster that are held by anybody: a build has a cluster to itself.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self.hours = 0.0
        self._held = 0.0
        self._at = time.monotonic()

    def start(self) -> None:
        """Nothing has been held until now: another part of the build begins."""
        self._held = 0.0
        self._at = time.monotonic()

    def update(self, progress: Any) -> None:
        """Add what was held since the last update; stop the build where the limit is reached."""
        import ray

        now = time.monotonic()
        seconds = self._held * (now - self._at)
        self._at = now
        self.hours += seconds / 3600
        if seconds:
            progress.hold.remote(seconds)
        if self.limit is not None and self.hours >= self.limit:
            progress.stop.remote(
                f"stopped: GPUs were held for {self.hours:.2f} hours, --max-gpu-hours allows {self.limit:g}. "
                "Committed work is kept; run the same command again to resume, for as many hours again"
            )
        free = ray.available_resources().get("GPU", 0.0)
        self._held = ray.cluster_resources().get("GPU", 0.0) - free
