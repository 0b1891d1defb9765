"""What a running build tells Prometheus, through the endpoint of Ray's head (`metrics-export-port`).

Ray puts `ray_` before each name and `_total` behind counters: `ray_aqaa_recordings_total{stage="decode"}`.
`infra/grafana.json` draws them.
"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    kind: Literal["counter", "gauge"]
    what: str
    tags: tuple[str, ...] = ("stage",)

    def exported(self, name: str) -> str:
        """The name in Prometheus."""
        return f"ray_{name}_total" if self.kind == "counter" else f"ray_{name}"


METRICS: dict[str, Metric] = {
    "aqaa_recordings": Metric("counter", "Recordings that a stage is through with"),
    "aqaa_audio_hours": Metric("counter", "Hours of audio that a stage is through with"),
    "aqaa_set_aside": Metric("counter", "Recordings and turns set aside", ("stage", "reason")),
    "aqaa_stage_seconds": Metric("counter", "Seconds that the workers of a stage were busy"),
    "aqaa_stage_cpu_seconds": Metric("counter", "Processor seconds of a stage's workers"),
    "aqaa_units": Metric("counter", "Units that a stage is through with"),
    "aqaa_queue_units": Metric("gauge", "Units that wait for a stage or are in it"),
    "aqaa_gpu_batches": Metric("counter", "Units that a worker with a share of a GPU computed"),
    "aqaa_gpu_hours": Metric("counter", "Hours that GPUs were held, idle or not", ()),
    "aqaa_bytes_read": Metric("counter", "Bytes of recordings that a stage computed on"),
    "aqaa_bytes_written": Metric("counter", "Bytes that a stage committed"),
}


class Meters:
    """The metrics as Ray's objects; needs a process of Ray."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        kinds: dict[str, Any] = {"counter": Counter, "gauge": Gauge}
        self._meters: dict[str, Any] = {
            name: kinds[metric.kind](name, metric.what, metric.tags) for name, metric in METRICS.items()
        }

    def add(self, name: str, value: float, **tags: str) -> None:
        if value > 0:
            self._meters[name].inc(value, tags)

    def set(self, name: str, value: float, **tags: str) -> None:
        self._meters[name].set(value, tags)
