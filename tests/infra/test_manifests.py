"""The manifests and the image, as far as they can be checked without a cluster and without an engine.

Overlays are rendered by the code that submits them, and by kubectl where there is one, which must come to the
same. Core kinds are held to Kubernetes' own schemas, the RayJob to the fields of KubeRay 1.3 that it may use.
"""

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from kubernetes_validate import ValidationError, validate

from pipeline.kubernetes.overlays import render
from stages.gpu import INSTALL_CUBLAS
from tests.paths import ROOT

INFRA = ROOT / "infra"
COMMANDS = {
    "cpu-small": "build",
    "h100": "build",
    "h100-evaluate": "evaluate answers --recipe",
    "h100-train": "train",
}
OVERLAYS = sorted(COMMANDS)
KUBERNETES = "1.32"

POD = object()
"""Stands for a pod template, which Kubernetes' schema of pods checks."""

GROUP = {"rayStartParams": {str: str}, "template": POD}
RAYJOB = {
    "entrypoint": str,
    "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode"),
    "backoffLimit": int,
    "activeDeadlineSeconds": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "suspend": bool,
    "runtimeEnvYAML": str,
    "entrypointNumCpus": int,
    "rayClusterSpec": {
        "rayVersion": str,
        "enableInTreeAutoscaling": bool,
        "autoscalerOptions": {
            "upscalingMode": ("Default", "Aggressive", "Conservative"),
            "idleTimeoutSeconds": int,
            "imagePullPolicy": ("Always", "Never", "IfNotPresent"),
            "resources": dict,
            "securityContext": dict,
        },
        "headGroupSpec": {**GROUP, "serviceType": ("ClusterIP", "NodePort", "LoadBalancer")},
        "workerGroupSpecs": [
            {**GROUP, "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}
        ],
    },
}


def load(path):
    return yaml.safe_load(path.read_text())


def rendered(overlay):
    """(kind, name) -> resource, as the overlay says."""
    return {(r["kind"], r["metadata"]["name"]): r for r in render(INFRA / "overlays" / overlay)}


def templates(rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def containers(rayjob):
    return [c for template in templates(rayjob) for c in template["spec"]["containers"]]


def strange(value, schema, path="spec"):
    """Everything in a value that a schema of fields and enums doesn't allow."""
    if schema is POD:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": value.get("spec")}
        try:
            validate(pod, KUBERNETES, strict=True)
        except ValidationError as error:
            yield f"{path}: {error.message}"
        yield from (f"{path}.{key}: no field of a template" for key in value.keys() - {"metadata", "spec"})
    elif isinstance(schema, list):
        for number, item in enumerate(value):
            yield from strange(item, schema[0], f"{path}[{number}]")
    elif isinstance(schema, dict):
        for key, inner in value.items():
            expected = schema.get(key, schema.get(str))
            if expected is None:
                yield f"{path}.{key}: no such field"
            else:
                yield from strange(inner, expected, f"{path}.{key}")
    elif isinstance(schema, tuple):
        if value not in schema:
            yield f"{path}: {value!r} is none of {schema}"
    elif type(value) is not schema:
        yield f"{path}: {value!r} is no {schema.__name__}"


@pytest.fixture(params=OVERLAYS)
def overlay(request):
    return request.param


@pytest.fixture
def resources(overlay):
    return rendered(overlay)


@pytest.fixture
def rayjob(resources):
    return resources["RayJob", "aqaa-data"]


def test_every_file_is_used_and_every_file_used_is_there():
    used = set()
    for file in INFRA.rglob("kustomization.yaml"):
        said = load(file)
        names = [name for name in said["resources"] if name.endswith(".yaml")]
        names += [patch["path"] for patch in said.get("patches", ())]
        names += [name for config in said.get("configMapGenerator", ()) for name in config["files"]]
        used |= {file, *(file.parent / name for name in names)}
    assert used == set((INFRA / "base").rglob("*.*")) | set((INFRA / "overlays").rglob("*.*"))
    assert sorted(path.name for path in (INFRA / "overlays").iterdir()) == OVERLAYS


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on this machine")
def test_kubectl_renders_the_same(overlay, resources):
    done = subprocess.run(
        ["kubectl", "kustomize", INFRA / "overlays" / overlay], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    by_kubectl = {(r["kind"], r["metadata"]["name"]): r for r in yaml.safe_load_all(done.stdout)}
    assert by_kubectl == resources


def test_core_kinds_are_what_kubernetes_takes(resources):
    assert {kind for kind, _ in resources} == {
        "ConfigMap",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "RayJob",
        "ServiceAccount",
    }
    for (kind, _), resource in resources.items():
        if kind != "RayJob":
            validate(resource, KUBERNETES, strict=True)


def test_the_rayjob_has_only_known_fields_and_values(rayjob):
    assert (rayjob["apiVersion"], rayjob.keys()) == (
        "ray.io/v1",
        {"apiVersion", "kind", "metadata", "spec"},
    )
    assert list(strange(rayjob["spec"], RAYJOB)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda spec: spec.update(submissionMode="Http"), "spec.submissionMode: 'Http' is none of"),
        (lambda spec: spec.update(backofLimit=3), "spec.backofLimit: no such field"),
        (
            lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
            "num-cpus: 0 is no str",
        ),
        (
            lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"].update(contaners=[]),
            "contaners",
        ),
    ],
)
def test_a_slip_in_the_rayjob_is_found(rayjob, change, told):
    change(rayjob["spec"])
    assert any(told in found for found in strange(rayjob["spec"], RAYJOB))


def test_what_the_pods_name_is_there(overlay, resources, rayjob):
    for template in templates(rayjob):
        spec = template["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in resources
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert mounted == volumes.keys()
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in resources
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in resources
    recipe = yaml.safe_load(resources["ConfigMap", "aqaa-data-recipe"]["data"]["recipe.yaml"])
    assert rayjob["spec"]["entrypoint"] == f"aqaa-data {COMMANDS[overlay]} /recipe/recipe.yaml"
    assert recipe["output"].startswith("s3://")


def test_pods_run_as_nobody_special_on_a_root_that_is_read_only(rayjob):
    options = rayjob["spec"]["rayClusterSpec"]["autoscalerOptions"]
    for template in templates(rayjob):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] >= 10_000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for context in (*(c["securityContext"] for c in spec["containers"]), options["securityContext"]):
            assert context == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


UNITS = {"Mi": 2**20, "Gi": 2**30}


def size(quantity):
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def test_every_container_has_requests_and_limits_that_hold(rayjob):
    for template in templates(rayjob):
        (container,) = template["spec"]["containers"]
        resources = container["resources"]
        assert resources["requests"] == resources["limits"], "of another size, the node may end it"
        assert {"cpu", "memory", "ephemeral-storage"} <= resources["limits"].keys()
        memory = next(v["emptyDir"] for v in template["spec"]["volumes"] if v["name"] == "shared-memory")
        assert size(memory["sizeLimit"]) * 2 <= size(resources["limits"]["memory"])


def test_groups_grow_between_their_bounds(rayjob):
    groups = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert len({group["groupName"] for group in groups}) == len(groups)
    for group in groups:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_h100_adds_nodes_with_a_gpu_each_and_cpu_small_has_none():
    def gpus(overlay):
        every = containers(rendered(overlay)["RayJob", "aqaa-data"])
        return [c["resources"]["limits"].get("nvidia.com/gpu") for c in every]

    assert gpus("cpu-small") == [None, None]
    assert gpus("h100") == [None, None, "1"]
    assert gpus("h100-evaluate") == ["1"]


def test_secrets_are_named_and_never_held(rayjob):
    for file in INFRA.rglob("*.yaml"):
        text = file.read_text()
        assert "kind: Secret\n" not in text
        assert not re.search(r"AKIA[0-9A-Z]{12}|aws_secret|PRIVATE KEY", text)
    for container in containers(rayjob):
        assert all("value" not in variable for variable in container["env"])
        assert [list(source) for source in container["envFrom"]] == [["secretRef"]]


def test_versions_are_those_of_the_project(rayjob):
    pins = (ROOT / "constraints.txt").read_text()
    assert f"\nray=={rayjob['spec']['rayClusterSpec']['rayVersion']} " in pins
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {c["image"] for c in containers(rayjob)} == {f"registry.example/aqaa-data:{version}"}


def test_the_image_is_pinned_runs_as_the_pods_do_and_copies_what_is_there(rayjob):
    text = (INFRA / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    said = {}
    for word, rest in lines:
        said.setdefault(word, []).append(rest)
    assert {word for word, _ in lines} <= {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "CMD"}
    assert re.fullmatch(r"BASE=nvidia/cuda:\d+\.\d+\.\d+-base-\S+", said["ARG"][0])
    assert all(rest.split()[0] == "${BASE}" for rest in said["FROM"])
    context = templates(rayjob)[0]["spec"]["securityContext"]
    assert said["USER"] == [f"{context['runAsUser']}:{context['runAsGroup']}"]
    assert "--constraint constraints.txt" in text
    assert re.search(rf"{INSTALL_CUBLAS.split()[-1]}==\d+", text), "for CTranslate2, by its exact version"
    sent = {
        line[1:] for line in (INFRA / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = {name for rest in said["COPY"] if "--from" not in rest for name in rest.split()[:-1]}
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)
    assert not re.search(r"(?i)secret|password|token", text)
