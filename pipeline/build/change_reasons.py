"""What a build will run and why, told before it runs: the plan against the latest version and the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow.parquet as pq

from pipeline.inputs.units import PlannedUnit
from pipeline.planning.plan import PACK, Plan
from pipeline.storage.store import Store
from pipeline.versions.diff import changed, flat
from pipeline.versions.reader import LATEST, tags_of, version_at
from schemas.manifest import Manifest

_UNITS_READ = 2000
"""So many units at most are looked into for the recordings that changed: beyond, all of them did."""

_NAMED = 3
"""Settings that are named for one stage."""


@dataclass(frozen=True)
class Work:
    """What one stage has to do."""

    stage: str
    units: int
    recordings: int
    hours: float
    """Estimated."""
    why: str


@dataclass(frozen=True)
class Changes:
    """Recordings since the latest version, and units in which only sidecars say something else."""

    version: str
    added: int
    changed: int
    removed: int
    sidecars: int


def work_of(plan: Plan) -> list[Work]:
    """The stages that have something to do, in order, pack last."""
    latest = _latest(plan.dataset)
    found = []
    for stage, committed in plan.committed().items():
        todo = [unit for unit in plan.units if unit.name not in committed]
        if todo:
            found.append(_work(plan, stage, todo, _why(plan, stage, latest, len(todo))))
    why = "; ".join(_settings(plan.recipe.content(), latest, [*_PACKED, "vocabulary"])) if latest else ""
    found.append(_work(plan, "pack", plan.units, why or ("new annotations" if found else "")))
    return found


def changes_of(plan: Plan) -> Changes | None:
    """What became of the recordings since the latest version; None where there is none to compare with."""
    latest = _latest(plan.dataset)
    if latest is None:
        return None
    folder = f"annotations/{latest.stages[plan.stages[0].name]}/"
    before = {
        path.removeprefix(folder).removesuffix(".parquet"): path
        for path in latest.ledgers
        if path.startswith(folder) and ".retry-" not in path
    }
    now = {unit.name: unit for unit in plan.units}
    new = [unit for name, unit in now.items() if name not in before]
    gone = [path for name, path in before.items() if name not in now]
    if max(len(new), len(gone)) > _UNITS_READ:
        return None
    was = {row["id"]: _listed(row) for path in gone for row in _rows(plan.dataset, path)}
    is_ = {
        r.id: _listed({"bytes": r.bytes, "etag": r.etag, "companions": r.companions})
        for u in new
        for r in u.recordings
    }
    both = was.keys() & is_.keys()
    stayed = [unit for name, unit in now.items() if name in before]
    known = set(latest.ledgers)
    return Changes(
        version=latest.version,
        added=len(is_.keys() - both),
        changed=sum(1 for id in both if was[id] != is_[id]),
        removed=len(was.keys() - both),
        sidecars=sum(1 for unit in stayed if unit.sidecars and unit.sidecars not in known),
    )


_PACKED = [stage.__name__.rpartition(".")[2] for stage in PACK]


def _work(plan: Plan, stage: str, units: Sequence[PlannedUnit], why: str) -> Work:
    recordings = [r for unit in units for r in unit.recordings]
    hours = sum(map(plan.estimate.seconds_of, recordings)) / 3600
    return Work(stage, len(units), len(recordings), round(hours, 4), why)


def _why(plan: Plan, stage: str, latest: Manifest | None, units: int) -> str:
    if latest is None:
        return "not annotated yet"
    fresh = [s.name for s in plan.stages if latest.stages.get(s.name) != s.fingerprint]
    if stage not in fresh:
        return "new or changed recordings"
    if stage != fresh[0]:
        return f"it comes after {fresh[0]}"
    said = _settings(plan.recipe.content(), latest, [stage])
    before = {model.reference: model.sha256 for model in latest.models}
    planned = next(s for s in plan.stages if s.name == stage)
    said += [
        f"{m.reference} has changed" for m in planned.models if before.get(m.reference, m.sha256) != m.sha256
    ]
    return "; ".join(said) or "the stage has a new version"


def _settings(recipe: dict[str, Any], latest: Manifest, sections: Sequence[str]) -> list[str]:
    """`section.key: old -> new` of what is set otherwise than in a version."""
    old, new = ({name: r.get(name) for name in sections} for r in (latest.recipe, recipe))
    told = [f"{key}: {was} -> {now}" for key, (was, now) in changed(flat(old), flat(new)).items()]
    return told[:_NAMED] + ([f"and {len(told) - _NAMED} more settings"] if len(told) > _NAMED else [])


def _latest(dataset: Store) -> Manifest | None:
    version = tags_of(dataset).get(LATEST)
    return version_at(dataset, version).manifest if version else None


def _rows(dataset: Store, path: str) -> list[dict[str, Any]]:
    try:
        content = dataset.get(path)
    except FileNotFoundError:  # purged with a recording that had to be forgotten
        return []
    return list(pq.read_table(BytesIO(content), columns=["id", "bytes", "etag", "companions"]).to_pylist())


def _listed(row: dict[str, Any]) -> tuple[Any, ...]:
    """What makes a recording another one."""
    beside = [c if isinstance(c, dict) else {"kind": c.kind, "etag": c.etag} for c in row["companions"]]
    return row["bytes"], row["etag"], sorted((c["kind"], c["etag"]) for c in beside)
