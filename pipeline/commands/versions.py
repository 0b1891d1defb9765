"""`aqaa-data versions`"""

import sys
from dataclasses import asdict
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
from pipeline.commands.removal import forget, gc, held_table
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
from pipeline.versions.tags import tag as move
from pipeline.versions.verify import faults


@click.group()
def versions() -> None:
    """Published versions of datasets."""


versions.add_command(gc)
versions.add_command(forget)


@versions.command("list", epilog="Example: aqaa-data versions list out/demo")
@click.argument("reference", metavar="[DATASET]", type=ReferenceType(), required=False)
@json_option
def list_(reference: Reference | None, as_json: bool) -> None:
    """List the versions of a dataset, newest first; of all under ./datasets without one."""
    references = [reference] if reference else [Reference(DATASETS, name) for name in datasets_in(DATASETS)]
    rows = [_row(version, tags) for each in references for version, tags in published(each)]
    if as_json:
        print_json({"versions": rows})
        return
    if not rows:
        click.echo(f"No dataset lies in {DATASETS}. Name another: aqaa-data versions list out/demo", err=True)
        return
    table = table_of(
        "dataset", "version", "tags", "kept", "recordings", "turns", "samples", "shards", "size", left=3
    )
    for row in rows:
        table.add_row(
            row["dataset"],
            row["version"],
            ", ".join(row["tags"]),
            _hours(row["kept_seconds"]),
            f"{row['recordings']:,}",
            f"{row['turns']:,}",
            f"{row['samples']:,}",
            f"{row['shards']:,}",
            f"{row['bytes'] / 1e6:,.1f} MB",
        )
    wide_console().print(table)


@versions.command(epilog="Example: aqaa-data versions show out/demo@latest")
@dataset_argument
@click.option(
    "--recording", "wanted", metavar="ID", multiple=True, help="List all versions that hold it, instead."
)
@json_option
def show(reference: Reference, wanted: tuple[str, ...], as_json: bool) -> None:
    """Show what a version holds; its whole manifest with --json."""
    version = open_version(reference)
    if wanted:
        held = versions_containing(version.store, wanted)
        if as_json:
            print_json({"versions": [asdict(one) for one in held]})
        elif held:
            wide_console().print(held_table(held))
        else:
            click.echo("no version contains any of these")
        return
    manifest = version.manifest
    if as_json:
        told = manifest.model_dump(mode="json")
        print_json({"uri": version.uri, **told, "trainings": uses(version.store, version.id)})
        return
    recordings, turns = manifest.recordings, manifest.turns
    facts = Table.grid(padding=(0, 2))
    facts.add_row("dataset", f"[bold]{manifest.dataset}[/] version {manifest.version}")
    facts.add_row("place", version.uri)
    facts.add_row("plan", f"{manifest.plan}, made by {manifest.code_version}")
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
    facts.add_row("inputs", "\n".join(str(root.get("uri", root)) for root in manifest.inputs))
    facts.add_row(
        "models", "\n".join(f"{m.reference} ({m.licence}, {m.sha256[:12]})" for m in manifest.models)
    )
    facts.add_row(
        "shards", f"{len(manifest.shards):,}, {sum(s.bytes for s in manifest.shards) / 1e6:,.1f} MB"
    )
    if runs := [str(use.get("run", use)) for use in uses(version.store, version.id)]:
        facts.add_row("trained", "\n".join(runs))
    wide_console().print(facts)


@versions.command(epilog="Example: aqaa-data versions diff out/demo@good out/demo@latest")
@click.argument("a", type=ReferenceType())
@click.argument("b", type=ReferenceType())
@json_option
def diff(a: Reference, b: Reference, as_json: bool) -> None:
    """Show what changed from version A to version B, and by how much."""
    found = difference(open_version(a), open_version(b))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    click.echo(f"{a.name}@{found.a} -> {b.name}@{found.b}")
    models = {name: tuple(v and v[:12] for v in pair) for name, pair in found.models.items()}
    code = {"code": found.code_version} if found.code_version[0] != found.code_version[1] else {}
    for title, pairs in (
        ("recipe", found.recipe),
        ("models", models),
        ("code", code),
        ("inputs", found.inputs),
        ("counts", {name: pair for name, pair in found.counts.items() if pair[0] != pair[1]}),
        ("hours", {name: pair for name, pair in found.hours.items() if pair[0] != pair[1]}),
        ("mixture", found.mixture),
    ):
        if pairs:
            table = table_of(title, "A", "B", "change", left=1)
            for name, pair in pairs.items():
                table.add_row(name, *(_value(value) for value in pair), _change(pair))
            wide_console().print(table)
    if found.stages:
        click.echo(f"stages that ran anew: {', '.join(found.stages)}")
    moved = found.recordings
    click.echo(f"recordings: {moved.added:,} came, {moved.removed:,} went")
    for sign, names in (("+", moved.added_names), ("-", moved.removed_names)):
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


@versions.command(epilog="Example: aqaa-data versions tag out/demo@3f2a91 good --expect 81c3d0")
@dataset_argument
@click.argument("tag")
@click.option(
    "--expect",
    metavar="VERSION",
    help="Only where the tag means this version now (or: none), so that nobody's move is undone unseen.",
)
@json_option
def tag(reference: Reference, tag: str, expect: str | None, as_json: bool) -> None:
    """Let TAG mean a version from now on."""
    version = open_version(reference)
    expected = expect
    if expect not in (None, NONE):
        expected = open_version(Reference(reference.root, reference.name, str(expect))).id
    move(version.store, tag, version.id, expected)
    if as_json:
        print_json({"dataset": version.manifest.dataset, "tag": tag, "version": version.id})
    else:
        click.echo(f"{reference.name}@{tag} is version {version.id}")


@versions.command(epilog="Example: aqaa-data versions verify out/demo@latest")
@dataset_argument
@json_option
def verify(reference: Reference, as_json: bool) -> None:
    """Read every byte of a version again and compare it with the manifest; exit 1 if anything differs."""
    version = open_version(reference)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), transient=True, console=console, disable=not console.is_terminal
    ) as progress:
        shown = progress.add_task("")
        found = list(faults(version, lambda path: progress.update(shown, description=f"reading {path}")))
    files = len(version.manifest.shards) + len(version.manifest.files)
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
        click.echo(f"{version.uri} is whole: {files:,} files, {_samples(version):,} samples")
    for fault in found:
        click.echo(f"{version.path(fault.path)} {fault.what}", err=True)
    if found:
        sys.exit(1)


def _row(version: Version, tags: list[str]) -> dict[str, Any]:
    manifest = version.manifest
    return {
        "dataset": manifest.dataset,
        "version": manifest.version,
        "tags": tags,
        "kept_seconds": manifest.kept_seconds,
        "recordings": manifest.recordings.in_,
        "turns": manifest.turns.diarized,
        "samples": _samples(version),
        "shards": len(manifest.shards),
        "bytes": sum(file.bytes for file in (*manifest.shards, *manifest.files)),
    }


def _samples(version: Version) -> int:
    return sum(shard.samples for shard in version.manifest.shards)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f} h"


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"
