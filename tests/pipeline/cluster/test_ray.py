"""What can't be scheduled is refused, with the stage and the numbers; what can is given its share."""

import signal
import subprocess
import sys
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


def everyday():
    return [
        replace(stage(), name=name, resources=resources)
        for name, resources in ResourcesConfig()
        if isinstance(resources, Resources)
    ]


def test_on_two_cores_every_stage_gets_a_fraction_and_all_fit():
    asked = requests(everyday(), [Capacity(2, 0, 8)])
    assert sum(request.cpus for request in asked.values()) <= 2 - SPARE_CPUS
    assert all(request.cpus > 0 for request in asked.values())


def test_two_stages_of_a_core_on_two_cores_can_not_hang():
    asked = requests([stage("decode", cpus=1), stage("diarize", cpus=1)], [Capacity(2, 0, 8)])
    assert asked["decode"].cpus + asked["diarize"].cpus < 2


def test_a_machine_with_room_gives_what_is_asked_for():
    asked = requests(everyday(), [Capacity(64, 8, 256)])
    assert [request.cpus for request in asked.values()] == [s.resources.cpus for s in everyday()]


def test_fractions_of_a_gpu_shrink_where_one_has_to_do():
    stages = [stage("transcribe", gpus=1), stage("tokenize", gpus=0.5), stage("decode")]
    asked = requests(stages, [Capacity(8, 1, 64)])
    assert asked["transcribe"].gpus + asked["tokenize"].gpus <= 1
    assert asked["transcribe"].gpus == pytest.approx(2 * asked["tokenize"].gpus, rel=1e-3)
    assert asked["decode"].gpus == 0


@pytest.mark.parametrize(
    ("resources", "nodes", "told"),
    [
        ({"gpus": 1}, [Capacity(8, 0, 64)], r"stage transcribe needs 1 GPUs.* there are 0"),
        ({"gpus": 4, "actors": (2, 4)}, [Capacity(8, 4, 64)], r"stage transcribe needs 8 GPUs.* there are 4"),
        # Enough in all, and no node has two.
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
def test_what_is_not_refused_fits_in_sum(there, wanted):
    stages = [stage(f"stage{number}", **each.model_dump()) for number, each in enumerate(wanted)]
    try:
        asked = requests(stages, there)
    except SetupError:
        reject()
    for kind in ("cpus", "gpus", "memory_gb"):
        total = sum(getattr(asked[s.name], kind) * s.resources.actors[0] for s in stages)
        assert total <= sum(getattr(node, kind) for node in there) + 1e-6


@pytest.mark.parametrize("wrong", [{"gpus": 1.5}, {"actors": (0, 1)}, {"actors": (3, 2)}])
def test_resources_that_nobody_could_give_are_no_resources(wrong):
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


def test_the_loss_of_the_only_node_is_told():
    ended = subprocess.run([sys.executable, "-c", LOSES_ITS_NODE], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Ray's node on this machine has died" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_hears_that_the_node_is_taken_away_still_hears_it():
    """Ray's own handler would end the process without a word."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
