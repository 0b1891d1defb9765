"""Which version a plan was published as: numbered records under `plans/<plan id>/`, written once.

A plan can result in several versions: retrying recordings that were set aside changes the annotations
and leaves the plan as it is. As with tags, the highest number counts.
"""

import json

from pipeline.planning.plan import Plan
from pipeline.storage import dataset_layout as layout
from schemas.errors import SetupError

_ATTEMPTS = 100


def published_as(plan: Plan) -> str | None:
    """The newest version of exactly this plan that still exists; None if there is none."""
    for _, path in sorted(_records(plan), reverse=True):
        version = _version_in(plan, path)
        if plan.dataset.exists(layout.manifest(version)):
            return version
    return None


def record_published(plan: Plan, version: str) -> None:
    """Record a version as the newest of its plan."""
    for _ in range(_ATTEMPTS):
        number, path = max(_records(plan), default=(0, ""))
        if path and _version_in(plan, path) == version:
            return
        record = json.dumps({"version": version}, indent=1) + "\n"
        if plan.dataset.put_new(layout.plan(plan.id, number + 1), record.encode()):
            return
    raise SetupError(
        f"{layout.plan_records(plan.id)} of {plan.dataset.uri} is changed by other builds all the time: retry"
    )


def _records(plan: Plan) -> list[tuple[int, str]]:
    """(number, path) of each record of a plan; 0 is the single file that earlier releases wrote."""
    paths = [item.path for item in plan.dataset.list(layout.plan_records(plan.id))]
    records = [(parsed[1], path) for path in paths if (parsed := layout.parse_plan(path))]
    if plan.dataset.exists(layout.plan(plan.id)):
        records.append((0, layout.plan(plan.id)))
    return records


def _version_in(plan: Plan, path: str) -> str:
    return str(json.loads(plan.dataset.get(path))["version"])
