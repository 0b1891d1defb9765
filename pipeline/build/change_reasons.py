"""What a build will run and why: the plan compared with the latest version and the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow.parquet as pq

from pipeline.inputs.units import PlannedUnit
from pipeline.planning.plan import PACK, Plan
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.diff import changed, flat
from pipeline.versions.reader import LATEST, tags_of, version_at
from schemas.manifest import Manifest

_UNITS_COMPARED = 2000
"""With more changed units than this, recordings are not compared one by one."""

_SETTINGS_LISTED = 3
"""Changed settings that are listed for one stage; more are counted."""


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
    """Numbers of recordings that changed since the latest version, and of units with edited sidecars."""

    version: str
    added: int
    changed: int
    removed: int
    sidecars: int


def work_of(plan: Plan) -> list[Work]:
    """The stages that have work to do, in order, pack last."""
    latest = _latest(plan.dataset)
    work = []
    for stage, committed in plan.committed().items():
        todo = [unit for unit in plan.units if unit.name not in committed]
        if todo:
            work.append(_work(plan, stage, todo, _why(plan, stage, latest)))
    why = "; ".join(_settings(plan.recipe.content(), latest, [*_PACKED, "vocabulary"])) if latest else ""
    work.append(_work(plan, "pack", plan.units, why or ("new annotations" if work else "")))
    return work


def changes_of(plan: Plan) -> Changes | None:
    """Recordings that changed since the latest version; None without one, or if too much has changed."""
    latest = _latest(plan.dataset)
    if latest is None:
        return None
    folder = layout.annotations(latest.stages[plan.stages[0].name]) + "/"
    before = {
        path.removeprefix(folder).removesuffix(".parquet"): path
        for path in latest.ledgers
        if path.startswith(folder) and ".retry-" not in path
    }
    after = {unit.name: unit for unit in plan.units}
    new = [unit for name, unit in after.items() if name not in before]
    gone = [path for name, path in before.items() if name not in after]
    if max(len(new), len(gone)) > _UNITS_COMPARED:
        return None
    old_recordings = {row["id"]: _content(row) for path in gone for row in _rows(plan.dataset, path)}
    new_recordings = {
        r.id: _content({"bytes": r.bytes, "etag": r.etag, "companions": r.companions})
        for unit in new
        for r in unit.recordings
    }
    both = old_recordings.keys() & new_recordings.keys()
    unchanged = [unit for name, unit in after.items() if name in before]
    ledgers = set(latest.ledgers)
    return Changes(
        version=latest.version,
        added=len(new_recordings.keys() - both),
        changed=sum(1 for id in both if old_recordings[id] != new_recordings[id]),
        removed=len(old_recordings.keys() - both),
        sidecars=sum(1 for unit in unchanged if unit.sidecars and unit.sidecars not in ledgers),
    )


_PACKED = [stage.__name__.rpartition(".")[2] for stage in PACK]


def _work(plan: Plan, stage: str, units: Sequence[PlannedUnit], why: str) -> Work:
    recordings = [r for unit in units for r in unit.recordings]
    hours = sum(map(plan.estimate.seconds_of, recordings)) / 3600
    return Work(stage, len(units), len(recordings), round(hours, 4), why)


def _why(plan: Plan, stage: str, latest: Manifest | None) -> str:
    if latest is None:
        return "not annotated yet"
    changed_stages = [s.name for s in plan.stages if latest.stages.get(s.name) != s.fingerprint]
    if stage not in changed_stages:
        return "new or changed recordings"
    if stage != changed_stages[0]:
        return f"it comes after {changed_stages[0]}"
    reasons = _settings(plan.recipe.content(), latest, [stage])
    before = {model.reference: model.sha256 for model in latest.models}
    planned = next(s for s in plan.stages if s.name == stage)
    reasons += [
        f"{m.reference} has changed" for m in planned.models if before.get(m.reference, m.sha256) != m.sha256
    ]
    return "; ".join(reasons) or "the stage has a new version"


def _settings(recipe: dict[str, Any], latest: Manifest, sections: Sequence[str]) -> list[str]:
    """`section.key: old -> new` for each setting that differs from a version's."""
    old, new = ({name: r.get(name) for name in sections} for r in (latest.recipe, recipe))
    settings = [f"{key}: {was} -> {now}" for key, (was, now) in changed(flat(old), flat(new)).items()]
    return settings[:_SETTINGS_LISTED] + (
        [f"and {len(settings) - _SETTINGS_LISTED} more settings"] if len(settings) > _SETTINGS_LISTED else []
    )


def _latest(dataset: Store) -> Manifest | None:
    version = tags_of(dataset).get(LATEST)
    return version_at(dataset, version).manifest if version else None


def _rows(dataset: Store, path: str) -> list[dict[str, Any]]:
    try:
        content = dataset.get(path)
    except FileNotFoundError:  # purged with a forgotten recording
        return []
    return list(pq.read_table(BytesIO(content), columns=["id", "bytes", "etag", "companions"]).to_pylist())


def _content(row: dict[str, Any]) -> tuple[Any, ...]:
    """A recording whose content differs is a changed one: size, tag and companions."""
    companions = [c if isinstance(c, dict) else {"kind": c.kind, "etag": c.etag} for c in row["companions"]]
    return row["bytes"], row["etag"], sorted((c["kind"], c["etag"]) for c in companions)
