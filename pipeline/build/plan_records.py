"""Which version a plan was published as: numbered records under `plans/<plan id>/`, written once.

A plan can result in several versions: retrying recordings that were set aside changes the annotations
and leaves the plan as it is. As with tags, the highest number counts.
"""

import json

from pipeline.planning.plan import Plan
from schemas.errors import SetupError

_ATTEMPTS = 100


def published_as(plan: Plan) -> str | None:
    """The newest version of exactly this plan that still exists; None if there is none."""
    for _, path in sorted(_records(plan), reverse=True):
        version = _version_in(plan, path)
        if plan.dataset.exists(f"versions/{version}/manifest.json"):
            return version
    return None


def record_published(plan: Plan, version: str) -> None:
    """Record a version as the newest of its plan."""
    for _ in range(_ATTEMPTS):
        number, path = max(_records(plan), default=(0, ""))
        if path and _version_in(plan, path) == version:
            return
        record = json.dumps({"version": version}, indent=1) + "\n"
        if plan.dataset.put_new(f"plans/{plan.id}/{number + 1}.json", record.encode()):
            return
    raise SetupError(f"plans/{plan.id} of {plan.dataset.uri} is changed by other builds all the time: retry")


def _records(plan: Plan) -> list[tuple[int, str]]:
    """(number, path) of each record of a plan; 0 is the single file that earlier releases wrote."""
    folder = f"plans/{plan.id}"
    names = [item.path.rpartition("/")[2] for item in plan.dataset.list(folder)]
    stems = [name.removesuffix(".json") for name in names]
    records = [(int(stem), f"{folder}/{stem}.json") for stem in stems if stem.isdecimal()]
    if plan.dataset.exists(f"{folder}.json"):
        records.append((0, f"{folder}.json"))
    return records


def _version_in(plan: Plan, path: str) -> str:
    return str(json.loads(plan.dataset.get(path))["version"])
