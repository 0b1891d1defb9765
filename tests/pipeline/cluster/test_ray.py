"""Sharing the nodes among the stages, and starting Ray."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.cluster.ray import SPARE_CPUS, Capacity, requests, running
from pipeline.config.recipe import ResourcesConfig
from pipeline.planning.plan import PlannedStage
from schemas.errors import SetupError
from stages.decode import DecodeStage
from stages.decode.config import DecodeConfig
from stages.stage import Resources


def stage(name="decode", **resources):
    return PlannedStage(name, DecodeStage, DecodeConfig(), (), Resources(**resources), "f")


def default_stages():
    return [
        replace(stage(), name=name, resources=resources)
        for name, resources in ResourcesConfig()
        if isinstance(resources, Resources)
    ]


def test_on_two_cores_every_stage_gets_a_fraction_and_all_fit():
    each = requests(default_stages(), [Capacity(2, 0, 8)])
    assert sum(request.cpus for request in each.values()) <= 2 - SPARE_CPUS
    assert all(request.cpus > 0 for request in each.values())


def test_two_stages_that_fill_two_cores_leave_some_cpu_to_spare():
    each = requests([stage("decode", cpus=1), stage("diarize", cpus=1)], [Capacity(2, 0, 8)])
    assert each["decode"].cpus + each["diarize"].cpus < 2


def test_a_large_machine_gives_every_stage_its_full_request():
    each = requests(default_stages(), [Capacity(64, 8, 256)])
    assert [request.cpus for request in each.values()] == [s.resources.cpus for s in default_stages()]


def test_fractions_of_a_gpu_are_scaled_down_to_fit_one():
    stages = [stage("transcribe", gpus=1), stage("tokenize", gpus=0.5), stage("decode")]
    each = requests(stages, [Capacity(8, 1, 64)])
    assert each["transcribe"].gpus + each["tokenize"].gpus <= 1
    assert each["transcribe"].gpus == pytest.approx(2 * each["tokenize"].gpus, rel=1e-3)
    assert each["decode"].gpus == 0


@pytest.mark.parametrize(
    ("resources", "nodes", "told"),
    [
        ({"gpus": 1}, [Capacity(8, 0, 64)], r"stage transcribe needs 1 GPUs.* there are 0"),
        ({"gpus": 4, "actors": (2, 4)}, [Capacity(8, 4, 64)], r"stage transcribe needs 8 GPUs.* there are 4"),
        # Enough in total, but no single node has two.
        ({"gpus": 2}, [Capacity(8, 1, 64), Capacity(8, 1, 64)], r"stage transcribe needs 2 GPUs.* no node"),
        ({"memory_gb": 100}, [Capacity(8, 0, 64)], r"stage transcribe needs 100 GB of memory.* there are 64"),
        ({"memory_gb": 60}, [Capacity(8, 0, 40), Capacity(8, 0, 40)], r"stage transcribe needs .* 60 GB"),
        ({"gpus": 1, "memory_gb": 30}, [Capacity(8, 1, 20), Capacity(8, 0, 64)], r"1 GPUs and 30 GB"),
        ({}, [Capacity(0, 0, 64)], r"no CPUs"),
    ],
)  # fmt: skip
def test_what_can_never_be_placed_is_refused_with_the_numbers(resources, nodes, told):
    with pytest.raises(SetupError, match=told):
        requests([stage("decode", memory_gb=0.5), stage("transcribe", **resources)], nodes)


nodes = st.lists(
    st.builds(Capacity, st.integers(1, 64), st.integers(0, 8), st.integers(4, 256)), min_size=1, max_size=5
)
asks = st.builds(
    Resources,
    cpus=st.sampled_from([0.5, 1, 2, 8]),
    gpus=st.sampled_from([0, 0, 0.25, 0.5, 1, 2]),
    memory_gb=st.sampled_from([0.5, 2, 16]),
    actors=st.integers(1, 4).map(lambda n: (n, n)),
)


@given(nodes, st.lists(asks, min_size=1, max_size=5))
def test_accepted_requests_fit_in_total(available, wanted):
    stages = [stage(f"stage{number}", **resources.model_dump()) for number, resources in enumerate(wanted)]
    try:
        each = requests(stages, available)
    except SetupError:
        reject()
    for kind in ("cpus", "gpus", "memory_gb"):
        total = sum(getattr(each[s.name], kind) * s.resources.actors[0] for s in stages)
        assert total <= sum(getattr(node, kind) for node in available) + 1e-6


@pytest.mark.parametrize("wrong", [{"gpus": 1.5}, {"actors": (0, 1)}, {"actors": (3, 2)}])
def test_impossible_resources_are_rejected(wrong):
    with pytest.raises(ValidationError):
        Resources(**wrong)


LOSES_ITS_NODE = """
import os, signal, time
import ray
from pipeline.cluster.ray import running

with running():
    [raylet] = ray._private.worker._global_node.all_processes["raylet"]
    os.kill(raylet.process.pid, signal.SIGKILL)
    time.sleep(60)
"""


def test_the_loss_of_the_only_node_is_reported():
    ended = subprocess.run([sys.executable, "-c", LOSES_ITS_NODE], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Ray's node on this machine has died" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_our_sigterm_handler_survives_the_start_of_ray():
    """Ray's own handler would end the process silently."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_workers_get_the_niceness_of_the_recipe():
    import ray

    with running(worker_niceness=3):
        worker = ray.remote(num_cpus=0)(lambda: os.nice(0))
        assert ray.get(worker.remote()) == os.nice(0) + 3
    assert "RAY_worker_niceness" not in os.environ


def ray_processes():
    """Command lines of the running descendants of this process that belong to Ray."""
    listing = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True
    ).stdout
    rows = [line.split(None, 3) for line in listing.splitlines()]
    mine, found = {str(os.getpid())}, []
    for pid, parent, state, command in sorted(rows, key=lambda row: int(row[0])):
        if parent in mine:
            mine.add(pid)
            if "/ray/" in command and not state.startswith("Z"):
                found.append(command)
    return found


def test_a_failed_start_leaves_no_processes_and_says_what_to_do(monkeypatch):
    started = []

    def fail(self, address):
        started.extend(ray_processes())
        raise RuntimeError("The current node timed out during startup.")

    monkeypatch.setattr("ray._private.node.Node.validate_ip_port", fail)
    before = time.monotonic()
    with (
        pytest.raises(SetupError, match=r"timed out during startup.*load is .* cores.*GB of memory are free"),
        running(),
    ):
        pytest.fail("it did not start")
    assert any("gcs_server" in command for command in started)
    assert ray_processes() == []
    assert time.monotonic() - before < 120, "it is tried once"
