"""The metrics of a build, read from the endpoint of a real Ray, and its event log."""

import json
import re
import time
import urllib.request

import pytest

from pipeline.monitoring.event_log import EventLog
from pipeline.monitoring.gpu_budget import GpuHours
from pipeline.monitoring.metrics import METRICS
from pipeline.monitoring.progress import ProgressActor, UnitReport
from schemas.errors import SetupError
from tests.paths import ROOT

DASHBOARD = ROOT / "infra" / "grafana.json"


def report(unit, stage, **facts):
    base = {
        "recordings": 4,
        "computed": 4,
        "audio_seconds": 1800.0,
        "seconds": 10.0,
        "cpu_seconds": 8.0,
        "recordings_aside": 0,
        "set_aside": {},
        "bytes_read": 1000,
        "bytes_written": 50,
        "gpus": 0.0,
        "node": "n",
        "process": 7,
    }
    return UnitReport(unit, stage, **base | facts)


@pytest.fixture(scope="module")
def endpoint():
    """The address of the metrics of a Ray that claims to have one GPU."""
    import ray

    context = ray.init(
        num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    node = next(node for node in ray.nodes() if node["NodeID"] == context.address_info["node_id"])
    yield f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    ray.shutdown()


def exported(endpoint, wanted):
    """Name and tags of our metrics -> value, as soon as `wanted` is exported."""
    until = time.monotonic() + 60
    found = {}
    while time.monotonic() < until and wanted not in found:
        time.sleep(0.5)
        try:
            text = urllib.request.urlopen(endpoint, timeout=10).read().decode()
        except OSError:
            continue
        for name, tags, value in re.findall(r"^(ray_aqaa_\w+)\{(.*?)\} (\S+)$", text, re.M):
            labels = dict(re.findall(r'(\w+)="(.*?)"', tags))
            key = (name, *(labels[tag] for tag in ("stage", "reason") if tag in labels))
            found[key] = float(value)
    return found


def test_what_the_stages_report_is_exported_to_prometheus(endpoint):
    import ray

    progress = ray.remote(ProgressActor).options(num_cpus=0).remote()
    ray.get(progress.expect.remote({f"u{n}": {} for n in range(3)}, ["decode", "transcribe"], 2.0))
    ray.get(progress.report.remote(report("u1", "decode", set_aside={"silent": 1})))
    ray.get(progress.report.remote(report("u2", "decode", set_aside={"silent": 1, "unreadable": 1})))
    ray.get(progress.report.remote(report("u2", "decode")))  # again, after a crash
    ray.get(progress.report.remote(report("u1", "transcribe", gpus=0.5)))
    ray.get(progress.hold.remote(7200.0))
    found = exported(endpoint, ("ray_aqaa_gpu_hours_total",))
    decoded = {key[0]: value for key, value in found.items() if key[1:] == ("decode",)}
    assert decoded == {
        "ray_aqaa_units_total": 2,
        "ray_aqaa_recordings_total": 8,
        "ray_aqaa_audio_hours_total": 1,
        "ray_aqaa_stage_seconds_total": 20,
        "ray_aqaa_stage_cpu_seconds_total": 16,
        "ray_aqaa_bytes_read_total": 2000,
        "ray_aqaa_bytes_written_total": 100,
        "ray_aqaa_queue_units": 1,
    }
    assert found["ray_aqaa_set_aside_total", "decode", "silent"] == 2
    assert found["ray_aqaa_queue_units", "transcribe"] == 1
    assert found["ray_aqaa_gpu_batches_total", "transcribe"] == 1
    assert found["ray_aqaa_gpu_hours_total",] == 2
    assert {name for name, *_ in found} == {metric.exported(name) for name, metric in METRICS.items()}


def test_held_gpus_are_counted_and_the_limit_stops_the_build(endpoint):
    import ray

    progress = ray.remote(ProgressActor).options(num_cpus=0).remote()
    hours = GpuHours(limit=0.0001)
    hours.update(progress)
    time.sleep(0.2)
    hours.update(progress)
    assert hours.hours == 0, "no GPU was held"
    worker = ray.remote(ProgressActor).options(num_cpus=0, num_gpus=0.5).remote()
    ray.get(worker.read.remote())
    until = time.monotonic() + 30
    while ray.get(progress.stopped.remote()) is None and time.monotonic() < until:
        time.sleep(0.1)
        hours.update(progress)
    assert "--max-gpu-hours allows 0.0001" in ray.get(progress.stopped.remote())
    assert hours.hours == pytest.approx(0.0001, rel=0.9)
    ray.kill(worker)


def test_the_dashboard_queries_only_existing_metrics():
    queries = [
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", ())
    ]
    asked = {name for query in queries for name in re.findall(r"\bray_aqaa_\w+", query)}
    assert asked == {metric.exported(name) for name, metric in METRICS.items()}
    tags = {
        tag for query in queries for group in re.findall(r"by \((.*?)\)", query) for tag in group.split(", ")
    }
    assert tags <= {tag for metric in METRICS.values() for tag in metric.tags}


def test_the_log_has_one_line_per_event_with_the_unit(tmp_path):
    log = EventLog(str(tmp_path / "build.jsonl"))
    log.unit(report("u1", "decode", set_aside={"silent": 1}))
    log.write("published", version="abc")
    lines = [json.loads(line) for line in (tmp_path / "build.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["unit", "published"]
    assert (lines[0]["unit"], lines[0]["stage"], lines[0]["set_aside"]) == ("u1", "decode", {"silent": 1})
    assert all(line["time"].endswith("+00:00") for line in lines)


def test_a_log_that_cannot_be_written_is_an_error():
    with pytest.raises(SetupError, match="can't write the log /no/such"):
        EventLog("/no/such/place/x.jsonl")
