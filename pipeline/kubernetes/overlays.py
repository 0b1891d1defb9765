"""Kustomize overlays, rendered here: as much of kustomize as those in `infra/overlays` use.

That is `resources` (files and other folders), `configMapGenerator` with `files`, `labels`, `patches` (files
of JSON patch steps that add or replace) and `images`. Anything else is refused: kubectl renders it.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import SetupError

OVERLAYS = Path(__file__).resolve().parents[2] / "infra" / "overlays"

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


def overlay_folder(named: str) -> Path:
    """The folder of an overlay, by its name in `infra/overlays` or by its path. Raises SetupError."""
    for folder in (OVERLAYS / named, Path(named).expanduser()):
        if (folder / "kustomization.yaml").is_file():
            return folder
    there = ", ".join(sorted(path.name for path in OVERLAYS.glob("*/"))) or "none: it comes with the source"
    raise SetupError(
        f"there is no overlay {named}; infra/overlays has {there}; or name a folder with a kustomization.yaml"
    )


def render(folder: Path) -> list[Resource]:
    """All resources of an overlay. Raises SetupError with the file that can't be used."""
    file = folder / "kustomization.yaml"
    said = _load(file)
    unknown = said.keys() - _KNOWN
    if unknown:
        raise SetupError(
            f"{file}: `{sorted(unknown)[0]}` isn't rendered here; render with kubectl and apply that instead"
        )
    found = [resource for name in said.get("resources", ()) for resource in _resources(folder / name)]
    found += [_config_map(folder, config) for config in said.get("configMapGenerator", ())]
    for labels in said.get("labels", ()):
        for resource in found:
            resource["metadata"].setdefault("labels", {}).update(labels["pairs"])
    for patch in said.get("patches", ()):
        target = patch["target"]
        mine = [r for r in found if (r["kind"], r["metadata"]["name"]) == (target["kind"], target["name"])]
        if not mine:
            raise SetupError(f"{file}: there is no {target['kind']} {target['name']} to patch")
        for step in _load(folder / patch["path"]):
            _apply(mine[0], step, folder / patch["path"])
    for image in said.get("images", ()):
        for container in containers(found):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    return found


def containers(resources: list[Resource]) -> Iterator[dict[str, Any]]:
    """Every container of the RayJobs among some resources."""
    for template in pod_templates(resources):
        yield from template["spec"]["containers"]


def pod_templates(resources: list[Resource]) -> Iterator[dict[str, Any]]:
    """The pod templates of the RayJobs among some resources, the head's first."""
    for resource in resources:
        if resource["kind"] == "RayJob":
            cluster = resource["spec"]["rayClusterSpec"]
            yield from (g["template"] for g in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]))


def as_yaml(resources: list[Resource]) -> str:
    """Resources as `kubectl apply -f -` takes them."""
    return "".join(f"---\n{yaml.dump(r, Dumper=_Readable, sort_keys=False)}" for r in resources)


class _Readable(yaml.SafeDumper):
    """Text of several lines as it stands."""


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
    """One step of a JSON patch; its place must be there."""
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
        raise SetupError(f"{file} is no YAML: {error}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"can't read {file}: {error.strerror}") from error
