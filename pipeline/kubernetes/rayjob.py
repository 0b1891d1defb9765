"""A recipe as a Ray job on Kubernetes: the resources of an overlay with the recipe, a name and an image."""

import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.recipe import Recipe
from pipeline.kubernetes.overlays import Resource, containers, overlay_folder, pod_templates, render
from pipeline.storage.uri import local_path, normalize_uri
from schemas.errors import SetupError
from stages.stage import Resources

PLACEHOLDER = "registry.example/"
"""How the name of the image begins in an overlay that is not configured yet."""

SCRATCH = "/scratch"
GPU = "nvidia.com/gpu"
"""The resource of a node."""

_NAME_LETTERS = 40
"""KubeRay derives names of pods and services from it, which may have 63 letters."""

_RECIPE_BYTES = 900_000
"""A ConfigMap holds at most 1 MiB."""


def job_name(name: str, kind: str = "aqaa-data") -> str:
    """The name of the job in Kubernetes: one per dataset, partition or training, so that no two write to it
    at once."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    if cleaned != name or len(cleaned) > _NAME_LETTERS:
        cleaned = f"{cleaned[:_NAME_LETTERS]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return f"{kind}-{cleaned}"


@dataclass(frozen=True)
class OverlayJob:
    """The resources of an overlay: its RayJob, the ConfigMap with the job's recipe, and others."""

    folder: Path
    resources: list[Resource]
    job: Resource
    config: Resource

    @classmethod
    def rendered(cls, overlay: str, command: str) -> "OverlayJob":
        """An overlay whose job runs a command of aqaa-data, such as `build`.

        Raises SetupError for an overlay that can't be used, or runs something else.
        """
        folder = overlay_folder(overlay)
        resources = render(folder)
        jobs = [r for r in resources if r["kind"] == "RayJob"]
        recipes = [r for r in resources if r["kind"] == "ConfigMap" and "recipe.yaml" in r.get("data", {})]
        if len(jobs) != 1 or len(recipes) != 1:
            raise SetupError(
                f"{folder}: an overlay needs exactly one RayJob and one ConfigMap with a recipe.yaml"
            )
        entrypoint = jobs[0]["spec"]["entrypoint"]
        if shlex.split(entrypoint)[:2] != ["aqaa-data", command]:
            raise SetupError(
                f"{folder}: its job runs `{entrypoint}`, and this recipe is for `aqaa-data {command}`: name "
                "another overlay (docs/clusters.md)"
            )
        return cls(folder, resources, jobs[0], recipes[0])

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The groups of nodes that run stages or workers."""
        found: list[dict[str, Any]] = self.job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        return found

    @property
    def mounts(self) -> list[str]:
        """Where the pods' volumes are mounted."""
        return [m["mountPath"] for c in containers([self.job]) for m in c.get("volumeMounts", ())]

    def unmount(self, path: str) -> None:
        """Remove a volume from all pods, and its claim."""
        specs = [template["spec"] for template in pod_templates([self.job])]
        for spec in specs:
            for container in spec["containers"]:
                for mount in [m for m in container.get("volumeMounts", ()) if m["mountPath"] == path]:
                    container["volumeMounts"].remove(mount)
                    spec["volumes"] = [v for v in spec["volumes"] if v["name"] != mount["name"]]
        volumes = [volume for spec in specs for volume in spec.get("volumes", ())]
        claimed = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in volumes]
        self.resources[:] = [
            resource
            for resource in self.resources
            if resource["kind"] != "PersistentVolumeClaim" or resource["metadata"]["name"] in claimed
        ]

    def check_paths(self, uris: Iterable[tuple[str, str]]) -> None:
        """`uris` are keys of the recipe with their values. Raises SetupError for a path that only exists on
        this machine."""
        shared = [mount for mount in self.mounts if not _private(mount)]
        for key, uri in uris:
            path = normalize_uri(uri)
            if path.startswith("file://") and not any(
                local_path(path).is_relative_to(mount) for mount in shared
            ):
                raise SetupError(
                    f"{key}: {uri} is on this machine, and the cluster can't read it: use s3:// or gs://, or "
                    "mount a volume with it on all nodes in an overlay"
                )

    def filled(
        self, name: str, recipe: dict[str, Any], image: str | None, options: Sequence[str] = ()
    ) -> list[Resource]:
        """The resources to submit, the RayJob last: with a name, an image (None: the overlay's), the values
        of a recipe, and options of the command. Raises SetupError for a recipe that is too large."""
        old = self.config["metadata"]["name"]
        self.config["metadata"]["name"] = f"{name}-recipe"
        self.config["data"] = {"recipe.yaml": _text(recipe)}
        for template in pod_templates([self.job]):
            for volume in template["spec"].get("volumes", ()):
                if volume.get("configMap", {}).get("name") == old:
                    volume["configMap"]["name"] = f"{name}-recipe"
        spec = self.job["spec"]
        self.job["metadata"]["name"] = name
        spec["entrypoint"] = shlex.join([*shlex.split(spec["entrypoint"]), *options])
        for container in containers([self.job]):
            container["image"] = image or container["image"]
        return [*(r for r in self.resources if r is not self.job), self.job]


def job_resources(
    recipe: Recipe,
    overlay: str,
    image: str | None = None,
    options: Sequence[str] = (),
    partitions: Sequence[str] = (),
) -> list[Resource]:
    """The resources that run a build, the RayJob last. `options` are options of `aqaa-data build`, and
    `partitions` those that it builds, after which the job is named.

    Raises SetupError for an overlay that can't be used, for a recipe with paths that the cluster can't read,
    and where the stages don't use the nodes' GPUs or need more than a node has.
    """
    rendered = OverlayJob.rendered(overlay, "build")
    if recipe.scratch is None and SCRATCH in rendered.mounts:
        recipe = recipe.model_copy(update={"scratch": SCRATCH})
    rendered.check_paths(_uris(recipe))
    _check_gpus(recipe, rendered)
    if "--max-gpu-hours" in options:
        rendered.job["spec"]["backoffLimit"] = 0  # each start would count from zero
    # The contents of lists are in the recipe by now.
    values = recipe.model_dump(mode="json", exclude_defaults=True)
    only = [word for name in partitions for word in ("--partition", name)]
    return rendered.filled(job_name("/".join((recipe.name, *partitions))), values, image, [*options, *only])


def _check_gpus(recipe: Recipe, rendered: OverlayJob) -> None:
    """Raise SetupError for a stage that needs more GPUs than a node has, and for GPUs that no stage uses."""
    most = max((of_node(group, GPU) for group in rendered.groups), default=0)
    stages = {name: value.gpus for name, value in recipe.resources if isinstance(value, Resources)}
    for name, gpus in stages.items():
        if gpus > most:
            raise SetupError(
                f"resources.{name}.gpus is {gpus:g}, and a node in {rendered.folder} has {most:g}: lower it, "
                "or name another overlay"
            )
    if most and not any(stages.values()):
        raise SetupError(
            f"no stage uses the GPUs that {rendered.folder} reserves: give some to diarize, transcribe, "
            "quality or tokenize, such as `resources: {transcribe: {gpus: 0.5}}`, or name an overlay without "
            "GPUs"
        )


def of_node(group: dict[str, Any], resource: str) -> float:
    """How much of a resource a node of a group has: cores or GPUs."""
    (container, *_) = group["template"]["spec"]["containers"]
    amount = str(container.get("resources", {}).get("limits", {}).get(resource, 0))
    return float(amount[:-1]) / 1000 if amount.endswith("m") else float(amount)


def check_images(job: Resource) -> None:
    """Raise SetupError for an image that is a placeholder."""
    for container in containers([job]):
        if container["image"].startswith(PLACEHOLDER):
            raise SetupError(
                f"the image of the overlay, {container['image']}, is a placeholder: build yours "
                "(infra/Dockerfile), push it, and name it with --image"
            )


def _text(recipe: dict[str, Any]) -> str:
    text = yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False)
    if len(text.encode()) > _RECIPE_BYTES:
        raise SetupError(
            f"recipe and lists have {len(text.encode()):,} bytes, Kubernetes allows {_RECIPE_BYTES:,}"
        )
    return text


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
