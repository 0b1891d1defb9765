"""Submitting a training: its recipe, and as many nodes as its workers fill."""

import pytest
import yaml

from pipeline.kubernetes.overlays import as_yaml
from pipeline.training import recipe as language_model
from pipeline.training.cluster_job import load, training_resources
from schemas.errors import SetupError

RECIPE = """
name: omni
dataset: s3://b/sets/calls@latest
output: s3://b/runs
backbone: {preset: step1-3b}
workers: {count: 16, gpu: true, cpus: 8}
train: {global_batch_size: 64, learning_rate: 1.0e-4}
sft1: {learning_rate: 2.0e-5}   # the default, which isn't what `train` shares
dpo:
"""
VOCODER = (
    "name: voice\ndataset: s3://b/sets/calls\noutput: /runs\nvocoder: {steps: 10}\nworkers: {gpu: true}\n"
)


@pytest.fixture
def recipe(tmp_path):
    def written(text=RECIPE):
        (tmp_path / "train.yaml").write_text(text)
        return tmp_path / "train.yaml"

    return written


def groups(job):
    return {
        group["groupName"]: (group["minReplicas"], group["replicas"], group["maxReplicas"])
        for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    }


def test_the_command_submits_what_trains(command, recipe):
    done = command("submit", recipe(), "--overlay", "h100-train", "--image", "mine/x:1", "--dry-run")
    assert done.code == 0, done.stderr
    found = {r["metadata"]["name"]: r for r in yaml.safe_load_all(done.stdout)}
    job = found["aqaa-data-train-omni"]
    assert job["spec"]["entrypoint"] == "aqaa-data train /recipe/recipe.yaml"
    assert job["spec"]["backoffLimit"] == 5, "a training resumes from its last checkpoint"
    assert groups(job) == {"h100-8": (2, 2, 2)}
    assert "aqaa-data-train-omni-recipe" in found
    assert "mountPath: /runs" not in done.stdout, "nodes share a bucket, and no volume"
    assert "aqaa-data-runs" not in found
    assert "aqaa-data-models" in found


@pytest.mark.parametrize("named", ["output: /runs/omni", "scratch: /runs", "copy_shards_to: /runs/shards"])
def test_a_training_that_names_a_folder_of_the_shared_volume_has_it(recipe, named):
    key = f"{named.partition(':')[0]}: "
    text = "\n".join(line for line in RECIPE.splitlines() if not line.startswith(key))
    resources = training_resources(load(str(recipe(f"{text}\n{named}\n"))), "h100-train")
    assert "aqaa-data-runs" in [resource["metadata"]["name"] for resource in resources]
    assert as_yaml(resources).count("mountPath: /runs") == 2


def test_the_recipe_trains_the_same_on_the_cluster(recipe, tmp_path):
    local = load(str(recipe()))
    config = next(r for r in training_resources(local, "h100-train") if "data" in r)
    (tmp_path / "there.yaml").write_text(config["data"]["recipe.yaml"])
    there = language_model.load(str(tmp_path / "there.yaml"))
    assert there == local.model_copy(update={"scratch": "/scratch"})
    assert there.stages["sft1"].learning_rate == 2e-5


def test_copies_stay_on_the_shared_volume_with_an_output_there(recipe):
    local = load(str(recipe(RECIPE.replace("output: s3://b/runs", "output: /runs/omni"))))
    config = next(r for r in training_resources(local, "h100-train") if "data" in r)
    assert yaml.safe_load(config["data"]["recipe.yaml"])["scratch"] == "/runs"


def test_a_vocoder_is_trained_where_all_nodes_read_and_write(recipe):
    *_, job = training_resources(load(str(recipe(VOCODER))), "h100-train")
    assert job["metadata"]["name"] == "aqaa-data-train-voice"
    assert groups(job) == {"h100-8": (1, 1, 1)}


@pytest.mark.parametrize(
    ("workers", "nodes"),
    [
        ("{count: 1, gpu: true}", 1),
        ("{count: 8, gpu: true}", 1),
        ("{count: 9, gpu: true}", 2),
        ("{count: 16, gpu: true, cpus: 24}", 4),  # four to a node of 96 cores
    ],
)
def test_there_are_as_many_nodes_as_the_workers_fill(recipe, workers, nodes):
    text = RECIPE.replace("{count: 16, gpu: true, cpus: 8}", workers)
    *_, job = training_resources(load(str(recipe(text))), "h100-train")
    assert groups(job) == {"h100-8": (nodes, nodes, nodes)}


@pytest.mark.parametrize(
    ("old", "new", "overlay", "told"),
    [
        ("", "", "h100", "this recipe is for `aqaa-data train`: name another overlay"),
        ("gpu: true, ", "", "h100-train", "workers.gpu is false, and .* has no group of nodes without GPUs"),
        ("cpus: 8", "cpus: 97", "h100-train", r"a worker needs 97 cores .*a node of h100-8 in .* has 96"),
        ("s3://b/runs", "runs", "h100-train", "output: file://.* is on this machine"),
        ("s3://b/sets/", "sets/", "h100-train", "dataset: .*sets is on this machine"),
        ("dpo:", "dpo: {start: a/checkpoint}", "h100-train", "dpo.start: .* is on this machine"),
        ("dpo:", "dpo:\nscratch: /data", "h100-train", "mounts no volume at /data: use /scratch"),
        ("dpo:", "merge: {weights: {sft1: 1, old/model: 1}}", "h100-train", "merge.weights: .*old/model"),
    ],
)
def test_what_cannot_train_on_the_cluster_is_refused(recipe, old, new, overlay, told):
    with pytest.raises(SetupError, match=told):
        training_resources(load(str(recipe(RECIPE.replace(old, new)))), overlay)


def test_hours_of_gpus_are_a_limit_of_builds(command, recipe):
    done = command("submit", recipe(), "--overlay", "h100-train", "--max-gpu-hours", "3", "--dry-run")
    assert done.code == 2
    assert "--max-gpu-hours is for builds" in done.stderr
