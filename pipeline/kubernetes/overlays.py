"""Renders Kustomize overlays: the subset of Kustomize that `infra/overlays` uses.

That is `resources` (files and other folders), `configMapGenerator` with `files`, `labels`, `patches` (files
of JSON patch operations `add` and `replace`) and `images`. Anything else is an error: use kubectl for it.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import SetupError

OVERLAYS = Path(__file__).resolve().parents[2] / "infra" / "overlays"
"""In a checkout of the source. A wheel has no overlays: every cluster needs its own, made from a copy."""

Resource = dict[str, Any]

_KNOWN = {
    "apiVersion",
    "kind",
    "resources",
    "configMapGenerator",
    "generatorOptions",
    "labels",
    "patches",
    "images",
}


def overlay_folder(overlay: str, bundled: Path = OVERLAYS) -> Path:
    """The folder of an overlay, given by its name in `bundled` or by its path. Raises SetupError."""
    for folder in (bundled / overlay, Path(overlay).expanduser()):
        if (folder / "kustomization.yaml").is_file():
            return folder
    names = ", ".join(sorted(path.name for path in bundled.glob("*/")))
    if not names:
        raise SetupError(
            f"there is no overlay folder {overlay}, and this installation has no overlays of its own: copy "
            "infra/ from the source repository, and pass the path of a folder in infra/overlays"
        )
    raise SetupError(
        f"there is no overlay {overlay}: infra/overlays has {names}; or pass the path of a folder with a "
        "kustomization.yaml"
    )


def render(folder: Path) -> list[Resource]:
    """All resources of an overlay. Raises SetupError with the file that is wrong."""
    file = folder / "kustomization.yaml"
    kustomization = _load(file)
    unknown = kustomization.keys() - _KNOWN
    if unknown:
        raise SetupError(
            f"{file}: `{sorted(unknown)[0]}` isn't supported here: render and apply the overlay with kubectl"
        )
    resources = [
        resource for name in kustomization.get("resources", ()) for resource in _resources(folder / name)
    ]
    resources += [_config_map(folder, config) for config in kustomization.get("configMapGenerator", ())]
    for labels in kustomization.get("labels", ()):
        for resource in resources:
            resource["metadata"].setdefault("labels", {}).update(labels["pairs"])
    for patch in kustomization.get("patches", ()):
        target = patch["target"]
        matching = [
            r for r in resources if (r["kind"], r["metadata"]["name"]) == (target["kind"], target["name"])
        ]
        if not matching:
            raise SetupError(f"{file}: there is no {target['kind']} {target['name']} to patch")
        for step in _load(folder / patch["path"]):
            _apply(matching[0], step, folder / patch["path"])
    for image in kustomization.get("images", ()):
        for container in containers(resources):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    return resources


def containers(resources: list[Resource]) -> Iterator[dict[str, Any]]:
    """Every container of the RayJobs among the resources."""
    for template in pod_templates(resources):
        yield from template["spec"]["containers"]


def pod_templates(resources: list[Resource]) -> Iterator[dict[str, Any]]:
    """The pod templates of the RayJobs among the resources, the head node's first."""
    for resource in resources:
        if resource["kind"] == "RayJob":
            cluster = resource["spec"]["rayClusterSpec"]
            yield from (g["template"] for g in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]))


def as_yaml(resources: list[Resource]) -> str:
    """Resources as YAML for `kubectl apply -f -`."""
    return "".join(f"---\n{yaml.dump(r, Dumper=_Readable, sort_keys=False)}" for r in resources)


class _Readable(yaml.SafeDumper):
    """Writes text of several lines as a literal block."""


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def _resources(path: Path) -> list[Resource]:
    return render(path) if path.is_dir() else [r for r in yaml.safe_load_all(_text(path)) if r]


def _config_map(folder: Path, config: dict[str, Any]) -> Resource:
    data = {Path(name).name: _text(folder / name) for name in config["files"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": config["name"]}, "data": data}


def _apply(resource: Resource, step: dict[str, Any], file: Path) -> None:
    """Apply one operation of a JSON patch; its path must exist."""
    *parents, last = (key.replace("~1", "/").replace("~0", "~") for key in step["path"].split("/")[1:])
    at: Any = resource
    try:
        for key in parents:
            at = at[int(key)] if isinstance(at, list) else at[key]
        value = copy.deepcopy(step["value"])
        match step["op"], at:
            case "add", list():
                at.insert(len(at) if last == "-" else int(last), value)
            case "add", dict():
                at[last] = value
            case "replace", list():
                at[int(last)] = value
            case "replace", dict() if last in at:
                at[last] = value
            case _:
                raise KeyError(last)
    except (LookupError, ValueError) as error:
        raise SetupError(f"{file}: can't {step.get('op')} at {step['path']}") from error


def _load(file: Path) -> Any:
    try:
        return yaml.safe_load(_text(file))
    except yaml.YAMLError as error:
        raise SetupError(f"{file} is not valid YAML: {error}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"can't read {file}: {error.strerror}") from error
