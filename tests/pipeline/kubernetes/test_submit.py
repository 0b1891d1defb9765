"""Submitting a recipe as a Ray job on Kubernetes, and following it until it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.config.recipe import load
from pipeline.kubernetes.client import Cluster
from pipeline.kubernetes.overlays import overlay_folder, render
from pipeline.kubernetes.rayjob import job_resources
from schemas.errors import SetupError
from tests.kubernetes_api import TOKEN, trouble

JOBS = "/apis/ray.io/v1/namespaces/builds/rayjobs"
JOB = f"{JOBS}/aqaa-data-calls"
RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING", "rayClusterName": "aqaa-data-calls-x"}
DONE = RUNNING | {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "message": "Job finished."}
FAILED = RUNNING | {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "no space left"}


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "deny.txt").write_text("secret/call.wav\n")
    file = tmp_path / "recipe.yaml"
    file.write_text("name: calls\ninputs: [s3://b/calls]\noutput: s3://b/sets\nselect: {deny: deny.txt}\n")
    return file


@pytest.fixture
def submit(command, recipe):
    """Submits the recipe to an overlay with GPUs, which transcribe uses."""
    on_gpu = ("--overlay", "h100", "--set", "resources.transcribe.gpus=0.5")

    def run(*options):
        return command("submit", recipe, *on_gpu, "--image", "mine/aqaa-data:1", *options)

    return run


def test_a_partition_needs_a_recipe_with_partitions(submit):
    done = submit("--dry-run", "--partition", "2026-07")
    assert done.code == 2
    assert "--partition names one of a build's recipe with `partitions`" in done.stderr


def test_a_job_of_a_partition_has_its_name(submit):
    done = submit("--dry-run", "--set", "partitions.folders=1", "--partition", "2026-07")
    assert done.code == 0, done.stderr
    (job,) = (r for r in yaml.safe_load_all(done.stdout) if r["kind"] == "RayJob")
    assert re.fullmatch("aqaa-data-calls-2026-07-[0-9a-f]{6}", job["metadata"]["name"])
    assert job["spec"]["entrypoint"] == "aqaa-data build /recipe/recipe.yaml --partition 2026-07"


def test_a_dry_run_prints_the_resources_and_needs_no_cluster(submit, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/no/such/file")
    done = submit("--dry-run", "--max-gpu-hours", "5")
    assert done.code == 0, done.stderr
    found = {r["kind"]: r for r in yaml.safe_load_all(done.stdout)}
    job = found["RayJob"]
    assert job["metadata"]["name"] == "aqaa-data-calls"
    assert job["spec"]["entrypoint"] == "aqaa-data build /recipe/recipe.yaml --max-gpu-hours 5"
    assert job["spec"]["backoffLimit"] == 0, "a restarted job would count from zero"
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert head["containers"][0]["image"] == "mine/aqaa-data:1"
    volume = next(v for v in head["volumes"] if "configMap" in v)
    assert volume["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]


def test_the_config_map_holds_the_recipe_with_its_lists(submit):
    found = {
        r["kind"]: r for r in yaml.safe_load_all(submit("--dry-run", "--set", "units.recordings=8").stdout)
    }
    recipe = yaml.safe_load(found["ConfigMap"]["data"]["recipe.yaml"])
    assert recipe == {
        "name": "calls",
        "inputs": ["s3://b/calls"],
        "output": "s3://b/sets",
        "scratch": "/scratch",
        "units": {"recordings": 8},
        "resources": {"transcribe": {"gpus": 0.5}},
        "select": {"deny": ["secret/call.wav"]},
    }


@pytest.mark.parametrize(
    ("overlay", "gpus", "told"),
    [
        ("h100", 0, "no stage uses the GPUs that .*h100 reserves: .* `resources: {transcribe: {gpus: 0.5}}`"),
        ("h100", 2, "resources.transcribe.gpus is 2, and a node in .*h100 has 1: lower it"),
        ("cpu-small", 0.5, "resources.transcribe.gpus is 0.5, and a node in .*cpu-small has 0: lower it"),
    ],
)
def test_gpus_of_stages_and_of_nodes_that_contradict_each_other_are_refused(submit, api, overlay, gpus, told):
    done = submit("--overlay", overlay, "--set", f"resources.transcribe.gpus={gpus}")
    assert done.code == 1
    assert re.search(told, done.stderr), done.stderr
    assert api.seen == []


@pytest.mark.parametrize("overlay", ["cpu-small", "h100"])
def test_the_recipe_of_an_overlay_uses_what_it_reserves(command, overlay, tmp_path):
    config = next(r for r in render(overlay_folder(overlay)) if r["kind"] == "ConfigMap")
    (tmp_path / "its.yaml").write_text(config["data"]["recipe.yaml"])
    done = command("submit", tmp_path / "its.yaml", "--overlay", overlay, "--dry-run")
    assert done.code == 0, done.stderr


def test_a_job_is_submitted_and_followed_to_its_end(submit, api):
    api.statuses = [{}, RUNNING, RUNNING, DONE]
    api.pods = [pod("head", "Running"), pod("gpu-1", "Pending", "Insufficient nvidia.com/gpu")]
    done = submit("--json")
    assert done.code == 0, done.stderr
    assert yaml.safe_load(done.stdout) == {
        "job": "aqaa-data-calls",
        "namespace": "builds",
        "status": "SUCCEEDED",
    }
    kinds = {stored["kind"] for stored in api.objects.values()}
    assert kinds == {"ServiceAccount", "PersistentVolumeClaim", "NetworkPolicy", "ConfigMap", "RayJob"}
    lines = [line for line in done.stderr.splitlines() if "RUNNING" in line]
    assert len(lines) == 1, "each state is reported once"
    assert "1 pending, 1 running (gpu-1: Insufficient nvidia.com/gpu)" in lines[0]
    assert TOKEN not in done.stdout + done.stderr


def test_a_job_that_fails_ends_with_its_message_and_what_to_do(submit, api):
    api.statuses = [RUNNING, FAILED]
    done = submit()
    assert done.code == 1
    assert "no space left" in done.stderr
    assert "run the same command again" in done.stderr


def test_an_ended_job_is_replaced_and_a_running_one_is_not(submit, api):
    api.statuses = [DONE]
    assert submit().code == 0
    assert submit().code == 0
    assert api.seen.count(("POST", JOBS)) == 2
    assert api.seen.count(("DELETE", JOB)) == 1
    api.statuses = [RUNNING]
    again = submit()
    assert again.code == 1
    assert "aqaa-data-calls is already running in builds" in again.stderr
    assert api.seen.count(("POST", JOBS)) == 2


@pytest.mark.parametrize(
    ("method", "path", "answer", "message"),
    [
        ("GET", "rayjobs", (404, {"message": "404 page not found"}), "install the KubeRay operator"),
        (
            "PATCH",
            "configmaps",
            trouble(403, "configmaps is forbidden"),
            "you lack the permission for this in the namespace",
        ),
        ("PATCH", "configmaps", trouble(401, "Unauthorized"), "rejects your credentials"),
        ("POST", "rayjobs", trouble(422, "spec.backoffLimit: Invalid"), "spec.backoffLimit: Invalid"),
        ("POST", "rayjobs", trouble(500, "webhook is away"), "webhook is away (500)"),
    ],
)
def test_what_the_cluster_refuses_is_one_clear_message(submit, api, method, path, answer, message):
    api.statuses = [DONE]
    api.refuse = lambda m, p: answer if m == method and f"/{path}" in p else None
    done = submit()
    assert done.code == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


def test_an_unknown_namespace_is_an_error(submit, api):
    done = submit("--namespace", "other")
    assert done.code == 1
    assert "no namespace other" in done.stderr


@pytest.mark.parametrize("text", ["", "no: config", "{"])
def test_an_invalid_kubeconfig_is_an_error(submit, tmp_path, monkeypatch, text):
    (tmp_path / "broken").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "broken"))
    done = submit()
    assert done.code == 1
    assert "no cluster" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_cluster_is_an_error(api, monkeypatch, tmp_path):
    text = api.kubeconfig().replace(api.url, "http://127.0.0.1:1")
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(SetupError, match=r"can't reach the cluster at http://127.0.0.1:1"):
        Cluster().apply({"kind": "ConfigMap", "metadata": {"name": "x"}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--overlay", "h10"], "infra/overlays has cpu-small, h100, h100-evaluate, h100-train"),
        (["--set", "output=/data/out"], "output: file:///data/out is on this machine"),
        (["--set", "inputs=[calls]"], "is on this machine"),
        (["--image", "registry.example/aqaa-data:1"], "name it with --image"),
        (["--set", "selct.x=1"], "did you mean `select`?"),
        (["--overlay", "h100-train"], "this recipe is for `aqaa-data build`: name another overlay"),
    ],
)
def test_what_cannot_run_on_the_cluster_is_refused_before_anything_is_sent(submit, api, options, message):
    done = submit(*options)
    assert done.code == 1
    assert message in done.stderr
    assert api.seen == []


def test_ctrl_c_leaves_the_job_running_and_says_how_to_show_it(recipe, api):
    api.statuses = [RUNNING]
    executable = Path(sys.executable).with_name("aqaa-data")
    arguments = [executable, "submit", recipe, "--overlay", "cpu-small", "--image", "mine/x:1"]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    until = time.monotonic() + 300
    while api.seen.count(("GET", JOB)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "kubectl -n builds get rayjob aqaa-data-calls -w" in stderr
    assert JOB in api.objects


def test_unsupported_fields_of_kustomize_are_refused(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: []\nnamePrefix: x-\n")
    with pytest.raises(SetupError, match="`namePrefix` isn't supported here"):
        render(tmp_path)


def test_a_patch_of_a_missing_path_is_an_error(tmp_path):
    (tmp_path / "map.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n")
    (tmp_path / "patch.yaml").write_text("[{op: replace, path: /data/x, value: 1}]")
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [map.yaml]\npatches: [{path: patch.yaml, target: {kind: ConfigMap, name: m}}]\n"
    )
    with pytest.raises(SetupError, match="can't replace at /data/x"):
        render(tmp_path)


def test_an_installation_without_overlays_says_where_they_are(tmp_path):
    with pytest.raises(SetupError, match=r"copy infra/ from the source repository"):
        overlay_folder("h100", bundled=tmp_path / "none")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text("resources: []\n")
    assert overlay_folder(str(tmp_path / "mine"), bundled=tmp_path / "none") == tmp_path / "mine"


def pod(name, phase, waiting=None):
    conditions = [{"type": "PodScheduled", "status": "False", "message": waiting}] if waiting else []
    return {"metadata": {"name": name}, "status": {"phase": phase, "conditions": conditions}}


def test_the_recipe_loads_the_same_on_the_cluster(tmp_path):
    text = """
name: calls
inputs: [s3://b/calls]
output: s3://b/sets
transcribe: {model: "hub:Systran/faster-whisper-large-v3", device: cuda, compute_type: float16}
resources: {transcribe: {gpus: 0.5, actors: [1, 8]}, quality: {actors: [1, 4]}}
compose: {families: [continuation, asr]}
mixture: {weights: {continuation: 1, asr: 2}}
select: {sidecar: {consent: true}, languages: [en]}
"""
    (tmp_path / "recipe.yaml").write_text(text)
    local = load(tmp_path / "recipe.yaml")
    *_, job = resources = job_resources(local, "h100")
    config = next(r for r in resources if r["kind"] == "ConfigMap")
    (tmp_path / "there.yaml").write_text(config["data"]["recipe.yaml"])
    assert load(tmp_path / "there.yaml") == local.model_copy(update={"scratch": "/scratch"})
    assert job["spec"]["backoffLimit"] == 5
