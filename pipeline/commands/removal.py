"""`aqaa-data versions gc` and `forget`: the commands that delete."""

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
from pipeline.storage import dataset_layout as layout
from pipeline.versions.forget import ContainingVersion, purge, tombstone, versions_containing
from pipeline.versions.gc import DAYS, Garbage, collect, garbage
from pipeline.versions.reader import Reference, dataset_of
from schemas.errors import SetupError


@click.command(epilog="Example: aqaa-data versions gc datasets/demo --older-than 7 --delete")
@dataset_argument
@click.option("--delete", is_flag=True, help="Delete what is listed. Without this option nothing is deleted.")
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(0),
    default=DAYS,
    show_default=True,
    help="Minimum age in days.",
)
@json_option
def gc(reference: Reference, delete: bool, days: float, as_json: bool) -> None:
    """List or delete what is no longer needed: old versions without a tag, and unused annotations.

    Versions that have a tag or that a training run used are always kept, with everything they were packed
    from, and so is everything younger than --older-than. Nothing is deleted while a build is running.
    """
    dataset = dataset_of(reference)
    items = collect(dataset, days) if delete else list(garbage(dataset, days))
    if as_json:
        rows = [{"kind": g.kind, "name": g.name, "files": len(g.paths), "bytes": g.bytes} for g in items]
        print_json({"deleted": delete, "garbage": rows, "bytes": sum(g.bytes for g in items)})
        return
    table = table_of("kind", "name", "files", "size", left=2)
    for item in items:
        table.add_row(item.kind, item.name, f"{len(item.paths):,}", _size([item]))
    if items:
        wide_console().print(table)
    outcome = "deleted" if delete else "can be deleted; to delete it, add --delete"
    click.echo(f"{_size(items)} {outcome}" if items else "nothing to delete")


def _size(items: list[Garbage]) -> str:
    return f"{sum(item.bytes for item in items) / 1e6:,.1f} MB"


@click.command(epilog="Example: aqaa-data versions forget datasets/demo calls/0042.wav --confirm")
@click.argument("reference", metavar="DATASET", type=ReferenceType())
@click.argument("recordings", metavar="RECORDING...", nargs=-1, required=True)
@renamed_option(
    "--yes",
    "--confirm",
    is_flag=True,
    help="Remove the recordings. Without this option, only the versions that contain them are listed.",
)
@json_option
def forget(reference: Reference, recordings: tuple[str, ...], confirm: bool, as_json: bool) -> None:
    """Remove recordings from a dataset permanently, by their ids.

    After --confirm no build uses them. Once the next build has published a version without them, run the
    same command again: it deletes the versions that contain them, their annotations and all caches, and
    their decoded audio in this machine's default scratch directory.

    Not deleted: the recordings' own files, and models that were trained on them. Decoded audio on other
    machines or in a recipe's `scratch` is deleted when the build that decoded it ends; if that build was
    killed, the next build on that machine deletes it after 7 days.
    """
    dataset = dataset_of(reference)
    if parts := dataset.folders(layout.PARTITIONS):
        raise SetupError(
            f"{dataset.uri} consists of {len(parts)} partitions: name the one that has the recordings, such "
            f"as {dataset.join(layout.partition(parts[0]))}"
        )
    containing = versions_containing(dataset, recordings)
    still_latest = any("latest" in version.tags for version in containing)
    deleted: list[str] = []
    if confirm:
        tombstone(dataset, recordings)
        if not still_latest:
            deleted = purge(dataset, recordings)
    if as_json:
        state = "listed" if not confirm else "buried" if still_latest else "purged"
        print_json(
            {"state": state, "versions": [asdict(version) for version in containing], "deleted": deleted}
        )
        return
    if containing:
        wide_console().print(containing_table(containing))
    else:
        click.echo("no version contains any of these recordings")
    if not confirm:
        click.echo("nothing was changed; to remove the recordings, add --confirm")
    elif still_latest:
        click.echo(
            "from now on, no build uses these recordings. Publish a version without them (aqaa-data build "
            "RECIPE), then run this command again to delete the versions that contain them"
        )
    else:
        click.echo(f"deleted {len(deleted):,} files: these versions, their annotations and all caches")


def containing_table(versions: list[ContainingVersion]) -> object:
    table = table_of("version", "tags", "used by", "recordings", "turns", "samples", left=3)
    for version in versions:
        counts = (len(version.recordings), version.turns, version.samples)
        table.add_row(
            version.version,
            ", ".join(version.tags),
            ", ".join(version.trainings),
            *(f"{count:,}" for count in counts),
        )
    return table
