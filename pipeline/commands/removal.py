"""`aqaa-data versions gc` and `forget`: what takes things away."""

from dataclasses import asdict

import click

from pipeline.commands.arguments import (
    ReferenceType,
    dataset_argument,
    json_option,
    print_json,
    renamed_option,
    table_of,
    wide_console,
)
from pipeline.versions.forget import ContainingVersion, purge, tombstone, versions_containing
from pipeline.versions.gc import DAYS, Garbage, collect, garbage
from pipeline.versions.reader import Reference, dataset_of


@click.command(epilog="Example: aqaa-data versions gc out/demo --older-than 7 --delete")
@dataset_argument
@click.option("--delete", is_flag=True, help="Delete what is listed; without it nothing is touched.")
@click.option(
    "--older-than", "days", type=click.FloatRange(0), default=DAYS, show_default=True, help="Days of age."
)
@json_option
def gc(reference: Reference, delete: bool, days: float, as_json: bool) -> None:
    """List what nothing needs any more: old versions without a tag, and annotations that none was made from.

    Kept are versions that a tag means or a training run was made from, all that they were packed from, and
    whatever is younger. While a build runs nothing is deleted.
    """
    dataset = dataset_of(reference)
    found = collect(dataset, days) if delete else list(garbage(dataset, days))
    if as_json:
        rows = [{"kind": g.kind, "name": g.name, "files": len(g.paths), "bytes": g.bytes} for g in found]
        print_json({"deleted": delete, "garbage": rows, "bytes": sum(g.bytes for g in found)})
        return
    table = table_of("kind", "name", "files", "size", left=2)
    for item in found:
        table.add_row(item.kind, item.name, f"{len(item.paths):,}", _size([item]))
    if found:
        wide_console().print(table)
    said = "deleted" if delete else "would go; delete them with --delete"
    click.echo(f"{_size(found)} {said}" if found else "nothing to delete")


def _size(found: list[Garbage]) -> str:
    return f"{sum(item.bytes for item in found) / 1e6:,.1f} MB"


@click.command(epilog="Example: aqaa-data versions forget out/demo calls/0042.wav --confirm")
@click.argument("reference", metavar="DATASET", type=ReferenceType())
@click.argument("recordings", metavar="RECORDING...", nargs=-1, required=True)
@renamed_option(
    "--yes", "--confirm", is_flag=True, help="Remove them; without it the versions that hold them are listed."
)
@json_option
def forget(reference: Reference, recordings: tuple[str, ...], confirm: bool, as_json: bool) -> None:
    """Remove recordings from a dataset for good, by their ids.

    With --confirm no build takes them from now on. When the next build has published a version without them,
    run the same command again: it deletes the versions that hold them, their annotations and all caches.
    The recordings' own files are yours to delete.
    """
    dataset = dataset_of(reference)
    held = versions_containing(dataset, recordings)
    waits = any("latest" in version.tags for version in held)
    gone: list[str] = []
    if confirm:
        tombstone(dataset, recordings)
        if not waits:
            gone = purge(dataset, recordings)
    if as_json:
        state = "listed" if not confirm else "buried" if waits else "purged"
        print_json({"state": state, "versions": [asdict(version) for version in held], "deleted": gone})
        return
    if held:
        wide_console().print(held_table(held))
    else:
        click.echo("no version holds any of these")
    if not confirm:
        click.echo("nothing was changed; remove them with --confirm")
    elif waits:
        click.echo(
            "no build takes them from now on. Publish a version without them (aqaa-data build RECIPE), then "
            "run this again: it deletes the versions that hold them"
        )
    else:
        click.echo(f"deleted {len(gone):,} files: these versions, their annotations and all caches")


def held_table(held: list[ContainingVersion]) -> object:
    table = table_of("version", "tags", "made from it", "recordings", "turns", "samples", left=3)
    for version in held:
        counts = (len(version.recordings), version.turns, version.samples)
        table.add_row(
            version.version,
            ", ".join(version.tags),
            ", ".join(version.trainings),
            *(f"{count:,}" for count in counts),
        )
    return table
