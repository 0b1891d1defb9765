"""The Prometheus metrics of a running build, exported by Ray's head (`metrics-export-port`).

Ray puts `ray_` before each name and `_total` after counters: `ray_aqaa_recordings_total{stage="decode"}`.
`infra/grafana.json` draws them.
"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    kind: Literal["counter", "gauge"]
    description: str
    tags: tuple[str, ...] = ("stage",)

    def exported(self, name: str) -> str:
        """The name in Prometheus."""
        return f"ray_{name}_total" if self.kind == "counter" else f"ray_{name}"


METRICS: dict[str, Metric] = {
    "aqaa_recordings": Metric("counter", "Recordings finished by a stage"),
    "aqaa_audio_hours": Metric("counter", "Hours of audio finished by a stage"),
    "aqaa_set_aside": Metric("counter", "Recordings and turns set aside", ("stage", "reason")),
    "aqaa_stage_seconds": Metric("counter", "Seconds for which the workers of a stage were busy"),
    "aqaa_stage_cpu_seconds": Metric("counter", "CPU seconds of the workers of a stage"),
    "aqaa_units": Metric("counter", "Units finished by a stage"),
    "aqaa_queue_units": Metric("gauge", "Units waiting for a stage or in it"),
    "aqaa_gpu_batches": Metric("counter", "Units computed by workers that hold a GPU or a share of one"),
    "aqaa_gpu_hours": Metric("counter", "Hours for which GPUs were held, idle or not", ()),
    "aqaa_bytes_read": Metric("counter", "Bytes of the recordings that a stage ran"),
    "aqaa_bytes_written": Metric("counter", "Bytes committed by a stage"),
}


class Meters:
    """The metrics as Ray objects; can only be created in a process of Ray."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        kinds: dict[str, Any] = {"counter": Counter, "gauge": Gauge}
        self._meters: dict[str, Any] = {
            name: kinds[metric.kind](name, metric.description, metric.tags)
            for name, metric in METRICS.items()
        }

    def add(self, name: str, value: float, **tags: str) -> None:
        if value > 0:
            self._meters[name].inc(value, tags)

    def set(self, name: str, value: float, **tags: str) -> None:
        self._meters[name].set(value, tags)
