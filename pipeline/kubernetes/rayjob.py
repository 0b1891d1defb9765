"""A build as a Ray job on Kubernetes: an overlay's resources with the recipe and a name of their own."""

import hashlib
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from pipeline.config.recipe import Recipe
from pipeline.kubernetes.overlays import Resource, containers, overlay_folder, pod_templates, render
from pipeline.storage.uri import local_path, normalize_uri
from schemas.errors import SetupError

PLACEHOLDER = "registry.example/"
"""How the image's name begins in overlays that nobody has set up."""

SCRATCH = "/scratch"

_LONGEST_NAME = 40
"""Letters; KubeRay makes names of pods and services of it, which may have 63."""

_LARGEST_RECIPE = 900_000
"""Bytes; a ConfigMap holds a MiB."""


def job_name(recipe: Recipe) -> str:
    """The job's name in Kubernetes: the same for the same dataset, so that it is not built twice at once."""
    name = re.sub(r"[^a-z0-9]+", "-", recipe.name).strip("-")
    if name != recipe.name or len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(recipe.name.encode()).hexdigest()[:6]}"
    return f"aqaa-data-{name}"


def job_resources(
    recipe: Recipe, overlay: str, image: str | None = None, options: Sequence[str] = ()
) -> list[Resource]:
    """What is to be submitted, the RayJob last. `options` are those of `aqaa-data build`.

    Raises SetupError for an overlay or a recipe that can't run there.
    """
    folder = overlay_folder(overlay)
    resources = render(folder)
    jobs = [r for r in resources if r["kind"] == "RayJob"]
    recipes = [r for r in resources if r["kind"] == "ConfigMap" and "recipe.yaml" in r.get("data", {})]
    if len(jobs) != 1 or len(recipes) != 1:
        raise SetupError(f"{folder}: a submission needs one RayJob and one ConfigMap with a recipe.yaml")
    (job,), (config,) = jobs, recipes
    mounts = [m["mountPath"] for c in containers(jobs) for m in c.get("volumeMounts", ())]
    if recipe.scratch is None and SCRATCH in mounts:
        recipe = recipe.model_copy(update={"scratch": SCRATCH})
    _check_places(recipe, mounts)
    name, old = job_name(recipe), config["metadata"]["name"]
    config["metadata"]["name"] = f"{name}-recipe"
    config["data"] = {"recipe.yaml": _text(recipe)}
    for template in pod_templates(jobs):
        for volume in template["spec"].get("volumes", ()):
            if volume.get("configMap", {}).get("name") == old:
                volume["configMap"]["name"] = f"{name}-recipe"
    job["metadata"]["name"] = name
    job["spec"]["entrypoint"] = shlex.join([*shlex.split(job["spec"]["entrypoint"]), *options])
    if "--max-gpu-hours" in options:
        job["spec"]["backoffLimit"] = 0  # each start would count anew
    for container in containers(jobs):
        container["image"] = image or container["image"]
    return [*(r for r in resources if r is not job), job]


def check_images(job: Resource) -> None:
    """Raise SetupError for an image that only stands for one."""
    for container in containers([job]):
        if container["image"].startswith(PLACEHOLDER):
            raise SetupError(
                f"the overlay names the image {container['image']}, which stands for one of yours: build it "
                "(infra/Dockerfile), push it, and name it with --image"
            )


def _text(recipe: Recipe) -> str:
    """The recipe as YAML: what it says besides defaults, with the lists that it names read in."""
    text = yaml.safe_dump(
        recipe.model_dump(mode="json", exclude_defaults=True), allow_unicode=True, sort_keys=False
    )
    if len(text.encode()) > _LARGEST_RECIPE:
        raise SetupError(
            f"recipe and lists have {len(text.encode()):,} bytes, Kubernetes takes {_LARGEST_RECIPE:,}"
        )
    return text


def _check_places(recipe: Recipe, mounts: Sequence[str]) -> None:
    """Raise SetupError for a place that only this machine has."""
    for key, uri in _places(recipe):
        place = normalize_uri(uri)
        if place.startswith("file://") and not any(
            local_path(place).is_relative_to(mount) for mount in mounts if not _own(mount)
        ):
            raise SetupError(
                f"{key}: {uri} lies on this machine, and the cluster can't read it: use s3:// or gs://, "
                "or mount what holds it on all nodes in an overlay"
            )


def _own(mount: str) -> bool:
    """Whether every pod has something else there."""
    return Path(mount).parts[1] in ("tmp", "scratch", "home", "dev", "recipe")


def _places(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield "output", recipe.output
    for key, uris in (
        ("inputs", recipe.inputs),
        ("texts", recipe.texts),
        ("select.evaluation_prompts", recipe.select.evaluation_prompts),
        ("synthesize.conversations", recipe.synthesize.conversations),
        ("preferences.candidates", recipe.preferences.candidates),
        ("preferences.ratings", recipe.preferences.ratings),
    ):
        yield from ((key, uri) for uri in uris)
