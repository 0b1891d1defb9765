"""`aqaa-data versions`"""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table

from pipeline.commands.arguments import (
    ReferenceType,
    dataset_argument,
    json_option,
    print_json,
    table_of,
    wide_console,
)
from pipeline.commands.removal import containing_table, forget, gc
from pipeline.storage import dataset_layout as layout
from pipeline.versions.diff import Pair, difference
from pipeline.versions.forget import versions_containing
from pipeline.versions.gc import uses
from pipeline.versions.reader import (
    DATASETS,
    Reference,
    Version,
    datasets_in,
    open_version,
    published,
)
from pipeline.versions.tags import NONE
from pipeline.versions.tags import tag as move_tag
from pipeline.versions.verify import faults
from schemas.manifest import PartitionVersion

SHOWN = 8
"""Most inputs and partitions of a version that are shown."""


@click.group()
def versions() -> None:
    """Inspect, compare, tag and remove the published versions of datasets."""


versions.add_command(gc)
versions.add_command(forget)


@versions.command("list", epilog="Example: aqaa-data versions list datasets/demo")
@click.argument("reference", metavar="[DATASET]", type=ReferenceType(), required=False)
@json_option
def list_(reference: Reference | None, as_json: bool) -> None:
    """List the versions of a dataset, newest first. Without DATASET: of all datasets in ./datasets."""
    references = [reference] if reference else [Reference(DATASETS, name) for name in datasets_in(DATASETS)]
    rows = [_row(version, tags) for named in references for version, tags in published(named)]
    if as_json:
        print_json({"versions": rows})
        return
    if not rows:
        click.echo(
            f"no datasets in {DATASETS}: name one, as in: aqaa-data versions list s3://bucket/datasets/demo",
            err=True,
        )
        return
    table = table_of(
        "dataset",
        "version",
        "tags",
        "published",
        "kept",
        "recordings",
        "turns",
        "samples",
        "shards",
        "size",
        left=3,
    )
    for row in rows:
        table.add_row(
            row["dataset"],
            row["version"],
            ", ".join(row["tags"]),
            row["published"][:16].replace("T", " "),
            _hours(row["kept_seconds"]),
            f"{row['recordings']:,}",
            f"{row['turns']:,}",
            f"{row['samples']:,}",
            f"{row['shards']:,}",
            f"{row['bytes'] / 1e6:,.1f} MB",
        )
    wide_console().print(table)


@versions.command(epilog="Example: aqaa-data versions show datasets/demo@latest")
@dataset_argument
@click.option(
    "--recording",
    "recording_ids",
    metavar="ID",
    multiple=True,
    help="Only list the versions that contain this recording; repeatable.",
)
@json_option
def show(reference: Reference, recording_ids: tuple[str, ...], as_json: bool) -> None:
    """Show what a version contains; with --json, its complete manifest."""
    version = open_version(reference)
    if recording_ids:
        containing = versions_containing(version.store, recording_ids)
        if as_json:
            print_json({"versions": [asdict(found) for found in containing]})
        elif containing:
            wide_console().print(containing_table(containing))
        else:
            click.echo("no version contains any of these recordings")
        return
    manifest = version.manifest
    if as_json:
        contents = manifest.model_dump(mode="json")
        made = {f"{kind}s": _made(version, kind) for kind in ("training", "evaluation")}
        print_json({"uri": version.uri, **contents, **made})
        return
    recordings, turns = manifest.recordings, manifest.turns
    facts = Table.grid(padding=(0, 2))
    facts.add_row("dataset", f"[bold]{manifest.dataset}[/] version {manifest.version}")
    facts.add_row("location", version.uri)
    facts.add_row("published", f"{_published(version)[:16].replace('T', ' ')} UTC")
    if not manifest.parts:
        facts.add_row("report", version.store.join(version.path("report.html")))
    facts.add_row("plan", f"{manifest.plan}, built by aqaa-data {manifest.code_version}")
    facts.add_row("audio", f"{_hours(manifest.audio_seconds)} in, {_hours(manifest.kept_seconds)} kept")
    facts.add_row(
        "recordings", f"{recordings.in_:,} = {recordings.kept:,} kept + {recordings.set_aside:,} set aside"
    )
    kept = f"{turns.used:,} used + {turns.eligible:,} eligible"
    facts.add_row("turns", f"{turns.diarized:,} = {kept} + {turns.set_aside:,} set aside")
    facts.add_row("samples", _counts(manifest.samples))
    facts.add_row("splits", _counts(manifest.splits))
    facts.add_row("tokens", _counts(manifest.tokens))
    facts.add_row("set aside", _counts(manifest.set_aside))
    facts.add_row("inputs", _inputs(manifest.inputs))
    facts.add_row(
        "models", "\n".join(f"{m.reference} ({m.licence}, {m.sha256[:12]})" for m in manifest.models)
    )
    facts.add_row(
        "shards", f"{len(manifest.shards):,}, {sum(s.bytes for s in manifest.shards) / 1e6:,.1f} MB"
    )
    if manifest.parts:
        facts.add_row("partitions", _partitions(manifest.parts))
    if runs := [str(use.get("run", use)) for use in _made(version, "training")]:
        facts.add_row("trainings", "\n".join(runs))
    if evaluations := [_evaluation(use) for use in _made(version, "evaluation")]:
        facts.add_row("evaluations", "\n".join(evaluations))
    wide_console().print(facts)


@versions.command(epilog="Example: aqaa-data versions diff datasets/demo@good datasets/demo@latest")
@click.argument("a", type=ReferenceType())
@click.argument("b", type=ReferenceType())
@json_option
def diff(a: Reference, b: Reference, as_json: bool) -> None:
    """Show what changed between version A and version B."""
    changes = difference(open_version(a), open_version(b))
    if as_json:
        print_json(changes.model_dump(mode="json"))
        return
    click.echo(f"{a.name}@{changes.a} -> {b.name}@{changes.b}")
    models = {name: tuple(v and v[:12] for v in pair) for name, pair in changes.models.items()}
    code = {"code": changes.code_version} if changes.code_version[0] != changes.code_version[1] else {}
    for title, pairs in (
        ("recipe", changes.recipe),
        ("models", models),
        ("code", code),
        ("inputs", changes.inputs),
        ("counts", {name: pair for name, pair in changes.counts.items() if pair[0] != pair[1]}),
        ("hours", {name: pair for name, pair in changes.hours.items() if pair[0] != pair[1]}),
        ("mixture", changes.mixture),
    ):
        if pairs:
            table = table_of(title, "A", "B", "change", left=1)
            for name, pair in pairs.items():
                table.add_row(name, *(_value(value) for value in pair), _change(pair))
            wide_console().print(table)
    if changes.stages:
        click.echo(f"stages that were rerun: {', '.join(changes.stages)}")
    recordings = changes.recordings
    click.echo(f"recordings: {recordings.added:,} added, {recordings.removed:,} removed")
    for sign, names in (("+", recordings.added_names), ("-", recordings.removed_names)):
        for name in names:
            click.echo(f"  {sign} {name}")


def _value(value: Any) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:,.4f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def _change(pair: Pair) -> str:
    a, b = (0 if value is None else value for value in pair)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b)):
        return ""
    share = f" ({(b - a) / a:+.1%})" if a else ""
    return f"{b - a:+,.4g}{share}" if isinstance(b - a, float) else f"{b - a:+,}{share}"


@versions.command(epilog="Example: aqaa-data versions tag datasets/demo@3f2a91 good --expect 81c3d0")
@dataset_argument
@click.argument("tag")
@click.option(
    "--expect",
    metavar="VERSION",
    help="Fail unless the tag refers to this version now (`none`: unless the tag is new), so that two people "
    "can't overwrite each other's change.",
)
@json_option
def tag(reference: Reference, tag: str, expect: str | None, as_json: bool) -> None:
    """Create TAG for a version, or move it there."""
    version = open_version(reference)
    expected = expect
    if expect not in (None, NONE):
        expected = open_version(Reference(reference.root, reference.name, str(expect))).id
    move_tag(version.store, tag, version.id, expected)
    if as_json:
        print_json({"dataset": version.manifest.dataset, "tag": tag, "version": version.id})
    else:
        click.echo(f"{reference.name}@{tag} is now version {version.id}")


@versions.command(epilog="Example: aqaa-data versions verify datasets/demo@latest")
@dataset_argument
@json_option
def verify(reference: Reference, as_json: bool) -> None:
    """Read every file of a version and compare it with the manifest; exit 1 if anything differs."""
    version = open_version(reference)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), transient=True, console=console, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("")
        found = list(faults(version, lambda path: progress.update(task, description=f"reading {path}")))
    files = sum(len(part.manifest.shards) + len(part.manifest.files) for part in version.parts)
    if as_json:
        print_json(
            {
                "dataset": version.manifest.dataset,
                "version": version.id,
                "files": files,
                "faults": [asdict(fault) for fault in found],
            }
        )
    elif not found:
        click.echo(f"{version.uri} is intact: {files:,} files, {_samples(version):,} samples")
    for fault in found:
        click.echo(f"{version.path(fault.path)} {fault.what}", err=True)
    if found:
        sys.exit(1)


def _made(version: Version, kind: str) -> list[dict[str, Any]]:
    """What was made from a version, of a kind; older records are of trainings and name none."""
    return [use for use in uses(version.store, version.id) if use.get("kind", "training") == kind]


def _evaluation(use: dict[str, Any]) -> str:
    return f"{use['run']} ({use['checkpoint']} on {use['benchmark']}, judged by {use['judge']})"


def _row(version: Version, tags: list[str]) -> dict[str, Any]:
    manifest = version.manifest
    return {
        "dataset": manifest.dataset,
        "version": manifest.version,
        "tags": tags,
        "published": _published(version),
        "kept_seconds": manifest.kept_seconds,
        "recordings": manifest.recordings.in_,
        "turns": manifest.turns.diarized,
        "samples": _samples(version),
        "shards": manifest.shard_count,
        "bytes": manifest.bytes,
    }


def _published(version: Version) -> str:
    """When its manifest was written, in UTC: a copy has its own time."""
    written = version.store.head(layout.manifest(version.id)).modified
    return datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")


def _samples(version: Version) -> int:
    return sum(version.manifest.splits.values())


def _inputs(inputs: list[dict[str, Any]]) -> str:
    shown = [str(root.get("uri", root)) for root in inputs[:SHOWN]]
    return "\n".join([*shown, *([f"and {len(inputs) - SHOWN:,} more"] if len(inputs) > SHOWN else [])])


def _partitions(parts: list[PartitionVersion]) -> str:
    shown = ", ".join(f"{part.partition}@{part.version}" for part in parts[:SHOWN])
    return shown + (f" and {len(parts) - SHOWN:,} more" if len(parts) > SHOWN else "")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f} h"


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"
