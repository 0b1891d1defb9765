"""A build as a Ray job on Kubernetes: the resources of an overlay with a recipe, a name and an image."""

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
"""How the name of the image begins in an overlay that is not configured yet."""

SCRATCH = "/scratch"

_NAME_LETTERS = 40
"""KubeRay derives names of pods and services from it, which may have 63 letters."""

_RECIPE_BYTES = 900_000
"""A ConfigMap holds at most 1 MiB."""


def job_name(recipe: Recipe) -> str:
    """The name of the job in Kubernetes: one per dataset, so that two builds of it can't run at once."""
    name = re.sub(r"[^a-z0-9]+", "-", recipe.name).strip("-")
    if name != recipe.name or len(name) > _NAME_LETTERS:
        name = f"{name[:_NAME_LETTERS]}-{hashlib.sha256(recipe.name.encode()).hexdigest()[:6]}"
    return f"aqaa-data-{name}"


def job_resources(
    recipe: Recipe, overlay: str, image: str | None = None, options: Sequence[str] = ()
) -> list[Resource]:
    """The resources to submit, the RayJob last. `options` are options of `aqaa-data build`.

    Raises SetupError for an overlay that can't be used, or a recipe with paths that the cluster can't read.
    """
    folder = overlay_folder(overlay)
    resources = render(folder)
    jobs = [r for r in resources if r["kind"] == "RayJob"]
    recipes = [r for r in resources if r["kind"] == "ConfigMap" and "recipe.yaml" in r.get("data", {})]
    if len(jobs) != 1 or len(recipes) != 1:
        raise SetupError(
            f"{folder}: an overlay needs exactly one RayJob and one ConfigMap with a recipe.yaml"
        )
    (job,), (config,) = jobs, recipes
    mounts = [m["mountPath"] for c in containers(jobs) for m in c.get("volumeMounts", ())]
    if recipe.scratch is None and SCRATCH in mounts:
        recipe = recipe.model_copy(update={"scratch": SCRATCH})
    _check_paths(recipe, mounts)
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
        job["spec"]["backoffLimit"] = 0  # each start would count from zero
    for container in containers(jobs):
        container["image"] = image or container["image"]
    return [*(r for r in resources if r is not job), job]


def idle_gpus(recipe: Recipe, job: Resource) -> bool:
    """Whether nodes of the job have GPUs, and no stage of the recipe reserves one."""
    limits = [container.get("resources", {}).get("limits", {}) for container in containers([job])]
    used = any(getattr(value, "gpus", 0) for _, value in recipe.resources)
    return not used and any("nvidia.com/gpu" in limit for limit in limits)


def check_images(job: Resource) -> None:
    """Raise SetupError for an image that is a placeholder."""
    for container in containers([job]):
        if container["image"].startswith(PLACEHOLDER):
            raise SetupError(
                f"the image of the overlay, {container['image']}, is a placeholder: build yours "
                "(infra/Dockerfile), push it, and name it with --image"
            )


def _text(recipe: Recipe) -> str:
    """The recipe as YAML: settings other than defaults, with the contents of the lists that it refers to."""
    text = yaml.safe_dump(
        recipe.model_dump(mode="json", exclude_defaults=True), allow_unicode=True, sort_keys=False
    )
    if len(text.encode()) > _RECIPE_BYTES:
        raise SetupError(
            f"recipe and lists have {len(text.encode()):,} bytes, Kubernetes allows {_RECIPE_BYTES:,}"
        )
    return text


def _check_paths(recipe: Recipe, mounts: Sequence[str]) -> None:
    """Raise SetupError for a path that only exists on this machine."""
    for key, uri in _uris(recipe):
        path = normalize_uri(uri)
        if path.startswith("file://") and not any(
            local_path(path).is_relative_to(mount) for mount in mounts if not _private(mount)
        ):
            raise SetupError(
                f"{key}: {uri} is on this machine, and the cluster can't read it: use s3:// or gs://, or "
                "mount a volume with it on all nodes in an overlay"
            )


def _private(mount: str) -> bool:
    """Whether every pod has its own contents there."""
    return Path(mount).parts[1] in ("tmp", "scratch", "home", "dev", "recipe")


def _uris(recipe: Recipe) -> Iterator[tuple[str, str]]:
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
