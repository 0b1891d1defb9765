"""Preview of a build; starts and writes nothing."""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.annotate.run import pending
from pipeline.build.change_reasons import changes_of, work_of
from pipeline.build.expected_companions import expected_companions
from pipeline.build.plan_records import published_as
from pipeline.cluster.ray import cpu_share, requests, this_machine
from pipeline.planning.plan import Plan
from schemas.errors import SetupError

SHARD_BYTES_PER_SECOND = 2_300
"""Bytes of shards without audio per second of recordings, all families; measured on half an hour."""

FLAC_BYTES_PER_SECOND = 14_000
"""Bytes of 16 kHz FLAC per second; a turn's audio is in about three samples, one for each family."""


@dataclass(frozen=True)
class Preview:
    """The preview for people and for machines."""

    text: str
    facts: dict[str, Any]


def preview(plan: Plan) -> Preview:
    """Inputs, hours, units, models, resources and expected shards of a plan.

    Hours and shards are those of the plan's units: with a limit, of the recordings that it takes.
    """
    known = published_as(plan)
    todo = {row.unit for row in pending(plan, retry=False)}
    changes = None if known else changes_of(plan)
    config = plan.recipe.shard
    rate = SHARD_BYTES_PER_SECOND + (3 * FLAC_BYTES_PER_SECOND if config.keep_audio else 0)
    expected = plan.seconds * rate
    machine = this_machine()
    try:
        requests(plan.stages, [machine])
        trouble = None
    except SetupError as error:
        trouble = str(error)
    facts: dict[str, Any] = {
        "dataset": plan.recipe.name,
        "output": plan.dataset.uri,
        "plan": plan.id,
        "known_version": known,
        "inputs": [root.__dict__ for root in plan.listing.roots],
        "recordings": sum(len(unit.recordings) for unit in plan.units),
        "companions": [asdict(use) for use in expected_companions(plan)],
        "hours": round(plan.seconds / 3600, 4),
        "limit_hours": plan.recipe.limit_hours,
        "texts": {"files": len(plan.texts), "bytes": sum(file.bytes for file in plan.texts)},
        "units": {"all": len(plan.units), "to_run": len(todo)},
        "changes": changes and asdict(changes),
        "work": [] if known else [asdict(work) for work in work_of(plan)],
        "stages": [
            {
                "name": stage.name,
                "fingerprint": stage.fingerprint,
                "models": [
                    {"reference": m.reference, "bytes": m.bytes, "present": True} for m in stage.models
                ],
                "cpus": stage.resources.cpus,
                "gpus": stage.resources.gpus,
                "memory_gb": stage.resources.memory_gb,
                "actors": list(stage.resources.actors),
            }
            for stage in plan.stages
        ],
        "machine": machine.__dict__ | {"cpu_share": round(cpu_share(plan.stages, [machine]), 3)},
        "trouble": trouble,
        "expected": {"shards": max(1, round(expected / 1e6 / config.megabytes)), "bytes": round(expected)},
    }
    return Preview(_text(facts), facts)


def _text(facts: dict[str, Any]) -> str:
    lines = [f"{facts['dataset']} -> {facts['output'].removeprefix('file://')}, plan {facts['plan']}"]
    for root in facts["inputs"]:
        uri = root["uri"].removeprefix("file://")
        ignored = f", {root['ignored']} other files" if root["ignored"] else ""
        lines.append(
            f"  input       {uri}: {root['recordings']} recordings, {root['bytes'] / 1e6:.1f} MB{ignored}"
        )
    for use in facts["companions"]:
        kind = f"{use['kind']} " if use["kind"] else ""
        names = ", ".join(use["names"]) + (", .." if use["number"] > len(use["names"]) else "")
        what = f"used for {use['why']}" if use["used"] else f"left, as {use['why']}"
        lines.append(f"  companions  {use['number']} {kind}{what}: {names}")
    if facts["texts"]["files"]:
        texts = facts["texts"]
        lines.append(f"  texts       {texts['files']} files, {texts['bytes'] / 1e6:.1f} MB")
    units, limit = facts["units"], facts["limit_hours"]
    lines.append(
        f"  audio       about {facts['hours']:.2f} hours in {facts['recordings']} recordings"
        f"{f', limited to {limit:g} hours' if limit else ''}"
    )
    lines.append(f"  units       {units['all']}, {units['to_run']} of them to annotate")
    if changes := facts["changes"]:
        counts = ", ".join(f"{changes[kind]} {kind}" for kind in ("added", "changed", "removed"))
        edited = f"; sidecars of {changes['sidecars']} units edited" if changes["sidecars"] else ""
        lines.append(f"  recordings  since {changes['version']}: {counts}{edited}")
    for work in facts["work"]:
        amount = (
            f"{work['units']} units, about {work['hours']:.2f} hours" if work["stage"] != "pack" else "runs"
        )
        lines.append(f"  to run      {work['stage']}: {amount}{': ' if work['why'] else ''}{work['why']}")
    for stage in facts["stages"]:
        models = ", ".join(f"{m['reference']} ({m['bytes'] / 1e6:.0f} MB, present)" for m in stage["models"])
        where = f"on {stage['gpus']:g} GPU and" if stage["gpus"] else "on"
        least, most = stage["actors"]
        actors = f"{least} actor{'s' * (least > 1)}" if least == most else f"{least} to {most} actors"
        needs = f"{actors} {where} {stage['cpus']:g} CPU, {stage['memory_gb']:g} GB"
        lines.append(f"  {stage['name']:<11} {needs}{'; ' + models if models else ''}")
    machine = facts["machine"]
    share = "" if machine["cpu_share"] == 1 else f"; every stage gets {machine['cpu_share']:.0%} of its CPUs"
    lines.append(f"  machine     {machine['cpus']:g} CPU, {machine['memory_gb']:.0f} GB{share}")
    expected = facts["expected"]
    lines.append(f"  shards      about {expected['shards']}, {expected['bytes'] / 1e6:.1f} MB")
    if facts["trouble"]:
        lines.append(f"  problem     {facts['trouble']}")
    if facts["known_version"]:
        lines.append(f"  nothing new: this plan is version {facts['known_version']}")
    return "\n".join(lines)
