"""`aqaa-data build`"""

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pipeline import api
from pipeline.commands.arguments import json_option, print_json, settings_option
from pipeline.monitoring.stage_times import lines as table_lines
from schemas.manifest import Manifest

if TYPE_CHECKING:
    from pipeline.build.run import Built
    from pipeline.config.recipe import Recipe


class Hours(click.ParamType):
    """`10h`, `90m`, or a number of hours."""

    name = "HOURS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(h|m)?", str(value))
        if not match or float(match[1]) == 0:
            self.fail(f"{value!r} is not a duration: write it as 10h or 90m", param, ctx)
        return float(match[1]) / (60 if match[2] == "m" else 1)


@click.command(epilog="Example: aqaa-data build recipe.yaml --input s3://bucket/calls --limit 10h")
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option(
    "--input",
    "inputs",
    metavar="URI",
    multiple=True,
    help="File, directory, glob or prefix, instead of the recipe's inputs; repeatable.",
)
@click.option("--output", metavar="URI", help="Where datasets are stored, instead of the recipe's output.")
@settings_option("select.words_min=2")
@click.option(
    "--partition",
    "only",
    metavar="NAME",
    multiple=True,
    help="Build only this partition of the recipe's; the others stay as they are. Repeatable.",
)
@click.option("--limit", type=Hours(), help="Process only about this much audio, for a pilot: 10h, 90m.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, without doing it.")
@click.option("--retry", is_flag=True, help="Retry recordings that were set aside.")
@click.option(
    "--max-gpu-hours",
    type=click.FloatRange(0, min_open=True),
    help="Stop once GPUs have been held for this many hours.",
)
@click.option("--log", metavar="FILE", help="Append events as JSON lines, each with its unit.")
@json_option
def build(
    recipe: str,
    inputs: tuple[str, ...],
    output: str | None,
    settings: tuple[str, ...],
    only: tuple[str, ...],
    limit: float | None,
    dry_run: bool,
    retry: bool,
    max_gpu_hours: float | None,
    log: str | None,
    as_json: bool,
) -> None:
    """Build a version of a dataset from recordings, as described in RECIPE.

    Work that was committed by an earlier build is not repeated, and a build that was stopped resumes.
    """
    from pipeline.monitoring.event_log import EventLog
    from pipeline.monitoring.recorder import BuildRecorder

    recorder = BuildRecorder(EventLog(log), max_gpu_hours)
    loaded = api.load_recipe(recipe, *settings, inputs=inputs, output=output, limit_hours=limit)
    if loaded.partitions:
        if dry_run:
            _preview_partitions(loaded, only, as_json)
        else:
            built = api.build_partitions(loaded, only, retry=retry, recorder=recorder, on_progress=_tell)
            _print(built, f"{loaded.output}/{loaded.name}", as_json)
        return
    if only:
        raise click.UsageError("--partition names one of a recipe with `partitions`, which this one hasn't")
    planned = api.plan(loaded, dry_run=dry_run, on_progress=_tell)
    if dry_run:
        from pipeline.build.dry_run import preview

        shown = preview(planned)
        click.echo(json.dumps(shown.facts, ensure_ascii=False) if as_json else shown.text)
        return
    _print(api.build(planned, retry=retry, recorder=recorder), planned.dataset.uri, as_json)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _preview_partitions(recipe: "Recipe", only: tuple[str, ...], as_json: bool) -> None:
    """Show the recipe's partitions, and the preview of the first."""
    from pipeline.build.dry_run import preview
    from pipeline.build.partitions import chosen, first_plan

    partitions = chosen(recipe, only)
    names = [partition.name for partition in partitions]
    first = preview(first_plan(recipe, partitions))
    if as_json:
        print_json({"partitions": names, "first": first.facts})
        return
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    click.echo(f"{len(names):,} partitions: {', '.join(names[:20])}{more}. The first of them:")
    click.echo(first.text)


def _print(built: "Built", dataset: str, as_json: bool) -> None:
    if as_json:
        print_json(facts(built))
    else:
        click.echo(summary(built, dataset))


def facts(built: "Built") -> dict[str, Any]:
    """What `--json` prints."""
    manifest = built.manifest
    counts = manifest.recordings
    return {
        "dataset": manifest.dataset,
        "version": manifest.version,
        "status": built.status,
        "recordings": {"in": counts.in_, "kept": counts.kept, "set_aside": counts.set_aside},
        "turns": manifest.turns.model_dump(),
        "samples": manifest.samples,
        "audio_seconds": manifest.audio_seconds,
        "shards": [shard.model_dump(exclude={"split"}) for shard in manifest.shards],
        "partitions": {part.partition: part.version for part in manifest.parts},
        "seconds": built.seconds,
        "stages": [asdict(row) for row in built.table.rows] if built.table else [],
        "bound": built.table.bound if built.table else None,
    }


def summary(built: "Built", dataset: str) -> str:
    """The result for people."""
    manifest = built.manifest
    counts, turns = manifest.recordings, manifest.turns
    dataset = dataset.removeprefix("file://")
    folder = f"{dataset}/versions/{manifest.version}"
    heads = {
        "published": "published",
        "unchanged": "unchanged: another build has published the same outputs",
        "nothing new": "nothing new: this plan has been built before",
    }
    lines = [
        f"{manifest.dataset}@{manifest.version} {heads[built.status]}",
        f"  recordings  {counts.in_} in = {counts.kept} kept + {counts.set_aside} set aside, "
        f"{manifest.audio_seconds / 60:.1f} minutes of audio",
        f"  turns       {turns.diarized} = {turns.used} used + {turns.eligible} eligible "
        f"+ {turns.set_aside} set aside, {manifest.kept_seconds / 60:.1f} minutes kept",
        f"  samples     {', '.join(f'{family} {n}' for family, n in manifest.samples.items()) or 'none'}"
        f" ({', '.join(f'{split} {n}' for split, n in manifest.splits.items())})",
        f"  tokens      {', '.join(f'{kind} {n:,}' for kind, n in manifest.tokens.items())}",
        f"  shards      {manifest.shard_count}, {_bytes_of_shards(manifest) / 1e6:.1f} MB",
        f"  set aside   {_reasons(manifest) or 'nothing'}",
    ]
    if built.table:
        lines += table_lines(built.table)
    if manifest.parts:
        lines.append(f"  partitions  {len(manifest.parts)}, each with its report in {dataset}/partitions")
    else:
        lines.append(f"  report      {folder}/report.html")
    return "\n".join(lines)


def _bytes_of_shards(manifest: Manifest) -> int:
    """Of parts, with their tables and pages."""
    return manifest.bytes if manifest.parts else sum(shard.bytes for shard in manifest.shards)


def _reasons(manifest: Manifest) -> str:
    most = sorted(manifest.set_aside.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{reason} {count}" for reason, count in most[:8])
    return shown + (f" and {len(most) - 8} more reasons" if len(most) > 8 else "")
