"""Several nodes on one machine: builds survive the loss of any, and say so when none is left to go on."""

import json
import time

import pytest

from tests.faults.builds import STAGES, contents, running, watched_at
from tests.faults.recipes import a_recipe

GPU_NODE = {"num_cpus": 4, "num_gpus": 1, "object_store_memory": 100_000_000, "memory": 8_000_000_000}

ON_GPUS = [
    word
    for stage in STAGES
    for word in ("--set", f"resources.{stage}={{cpus: 0.5, gpus: 0.2, memory_gb: 1}}")
]
"""Every stage holds a fifth of a GPU, so that none runs where there is no GPU."""


@pytest.fixture
def cluster(open_ray):
    """A head for the driver alone, and no node with a GPU yet."""
    from ray.cluster_utils import Cluster

    quick = {
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 4,
        "health_check_initial_delay_ms": 0,
    }
    head = {"num_cpus": 0, "object_store_memory": 100_000_000, "_system_config": quick}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_the_loss_of_a_gpu_node_changes_nothing(few, cluster, tmp_path, stage):
    node = cluster.add_node(**GPU_NODE)
    output = tmp_path / "out"
    few.begun(output / "few", before=stage)
    with running(
        few.recipe, "--output", output, *ON_GPUS, environment={"RAY_ADDRESS": cluster.address}
    ) as build:
        with watched_at(cluster.address, build) as in_hand:
            assert build.until(lambda: any(task.unit and task.stage == stage for task in in_hand()))
            cluster.remove_node(node, allow_graceful=False)
            cluster.add_node(**GPU_NODE)
        said = build.wait().said
    assert said["version"] == few.version
    assert contents(output / "few" / "versions" / few.version) == few.files
    assert not (output / "few" / "deaths").exists(), "a lost node is nobody's fault"
    ledger = output / "few" / "annotations"
    files = {name: len(list((ledger / folder).iterdir())) for name, folder in few.stages.items()}
    assert files == dict.fromkeys(STAGES, 3), "nothing is lost, nothing is there twice"


@pytest.mark.slow
def test_where_no_node_is_left_that_could_hold_a_stage_the_build_says_which(few, cluster, tmp_path):
    node = cluster.add_node(**GPU_NODE)
    arguments = ("--output", tmp_path / "out", *ON_GPUS, "--set", "resources.stall_minutes=0.3")
    with running(few.recipe, *arguments, environment={"RAY_ADDRESS": cluster.address}) as build:
        with watched_at(cluster.address, build) as in_hand:
            assert build.until(lambda: any(task.unit for task in in_hand()))
            cluster.remove_node(node, allow_graceful=False)
        ended = build.wait()
    assert ended.code == 1
    assert (
        "0 of at least 1 workers of decode could be placed: each needs 0.5 CPUs, 0.2 GPUs, 1 GB"
        in ended.message
    )
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_pools_grow_with_the_backlog_where_there_are_gpus(cluster, tmp_path):
    for _ in range(3):
        cluster.add_node(**GPU_NODE)
    recipe = a_recipe(tmp_path)
    for number in range(30):
        (tmp_path / "in" / f"{number}.wav").write_bytes((tmp_path / "in" / "LJ002-0020.wav").read_bytes())
    grows = ("--set", "resources.diarize={cpus: 0.5, gpus: 1, actors: [1, 3], memory_gb: 1}")
    seen = set()
    with running(recipe, *grows, environment={"RAY_ADDRESS": cluster.address}) as build:
        with watched_at(cluster.address, build) as in_hand:
            while not build.over and len(seen) < 2:
                seen |= {task.process for task in in_hand() if task.stage == "diarize" and task.unit}
                time.sleep(0.02)
        if not build.over:
            assert build.wait().code == 0
    assert len(seen) > 1


@pytest.mark.slow
def test_what_no_node_has_is_refused_before_anything_starts(cluster, few, tmp_path):
    cluster.add_node(num_cpus=4, memory=8_000_000_000, object_store_memory=100_000_000)
    arguments = ("--output", tmp_path / "out", "--set", "resources.transcribe.gpus=1")
    with running(few.recipe, *arguments, environment={"RAY_ADDRESS": cluster.address}) as build:
        ended = build.wait()
    assert ended.code == 1
    assert "stage transcribe needs 1 GPUs" in ended.message
    assert json.loads(ended.stdout or "{}") == {}
