"""How long a build holds GPUs, and a ceiling on it."""

import time
from typing import Any


class GpuHours:
    """Hours that workers held GPUs, idle or not, summed up look by look.

    What is counted are the GPUs of the whole cluster that anybody holds: a build has a cluster to itself.
    """

    def __init__(self, most: float | None = None) -> None:
        self.most = most
        self.hours = 0.0
        self._held = 0.0
        self._at = time.monotonic()

    def look(self, board: Any) -> None:
        """Count what was held since the last look, and stop the build where that was enough."""
        import ray

        now = time.monotonic()
        seconds = self._held * (now - self._at)
        self._at = now
        self.hours += seconds / 3600
        if seconds:
            board.hold.remote(seconds)
        if self.most is not None and self.hours >= self.most:
            board.stop.remote(
                f"stopped: GPUs were held for {self.hours:.2f} hours, --max-gpu-hours allows {self.most:g}. "
                "What is committed is kept: the same command goes on from there, with as many hours again"
            )
        free = ray.available_resources().get("GPU", 0.0)
        self._held = ray.cluster_resources().get("GPU", 0.0) - free
