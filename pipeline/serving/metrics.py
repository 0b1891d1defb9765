"""What the server does, in numbers for Prometheus. Nothing of what is asked or answered."""

from typing import TYPE_CHECKING

from pipeline.inference.latency import Latency
from pipeline.serving.worker import Worker
from schemas.layout import GROUP_SECONDS, LINGUISTIC_PER_GROUP, SEMANTIC_PER_GROUP

if TYPE_CHECKING:
    from pipeline.serving.reply import Reply

SECONDS = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 40)
"""Upper ends of the buckets of times."""


class ServerMetrics:
    """Counters, times and the state of a worker."""

    def __init__(self, worker: Worker) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = own = CollectorRegistry()
        self._requests = Counter(
            "aqaa_serve_requests", "Requests by status; 499: the client left", ["status"], registry=own
        )
        self._tokens = Counter("aqaa_serve_tokens", "Tokens read and written", ["side", "kind"], registry=own)
        self._audio = Counter("aqaa_serve_audio_seconds", "Speech read and written", ["side"], registry=own)
        self._times = {
            name: Histogram(
                f"aqaa_serve_{name}_seconds", f"From a request to its {what}", registry=own, buckets=SECONDS
            )
            for name, what in (
                ("first_text", "first text"),
                ("first_sound", "first sound"),
                ("total", "answer's end"),
            )
        }
        for name, help, value in (
            ("running", "Requests that are answered", lambda: worker.running),
            ("waiting", "Requests that wait", lambda: worker.waiting),
            ("batch", "Most requests that are answered at a time", lambda: worker.rows),
        ):
            Gauge(f"aqaa_serve_{name}", help, registry=own).set_function(value)

    def ended(self, status: int) -> None:
        """Count a request that was answered or not."""
        self._requests.labels(str(status)).inc()

    def answered(self, reply: "Reply", latency: Latency) -> None:
        """Count a complete answer."""
        self.ended(200)
        usage = reply.usage
        group = LINGUISTIC_PER_GROUP + SEMANTIC_PER_GROUP
        spoken = usage["completion_tokens_details"]["audio_tokens"] / group * GROUP_SECONDS
        heard = reply.prompted.seconds if reply.prompted else 0.0
        for side, name, seconds in (("question", "prompt", heard), ("answer", "completion", spoken)):
            self._audio.labels(side).inc(seconds)
            for kind in ("text", "audio"):
                self._tokens.labels(side, kind).inc(usage[f"{name}_tokens_details"][f"{kind}_tokens"])
        for name, value in latency.as_json().items():
            if value is not None:
                self._times[name].observe(value)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)
