"""`aqaa-data build`"""

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.arguments import json_option
from pipeline.monitoring.stage_times import lines as table_lines
from schemas.manifest import Manifest

if TYPE_CHECKING:
    from pipeline.build.run import Built


class Hours(click.ParamType):
    """`10h`, `90m` or a number of hours."""

    name = "HOURS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(h|m)?", str(value))
        if not match or float(match[1]) == 0:
            self.fail(f"{value!r} is no length of time: write 10h or 90m", param, ctx)
        return float(match[1]) / (60 if match[2] == "m" else 1)


@click.command(epilog="Example: aqaa-data build recipe.yaml --input s3://bucket/calls --limit 10h")
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option(
    "--input", "inputs", metavar="URI", multiple=True, help="File, directory, glob or prefix; may repeat."
)
@click.option("--output", metavar="URI", help="Where datasets are kept, in place of the recipe's place.")
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Override, such as select.words_min=2."
)
@click.option("--limit", type=Hours(), help="Take only about so much audio, for a pilot: 10h, 90m.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and start nothing.")
@click.option("--retry", is_flag=True, help="Try again what was set aside.")
@click.option(
    "--max-gpu-hours", type=click.FloatRange(0, min_open=True), help="Stop when GPUs were held so long."
)
@click.option("--log", metavar="FILE", help="Append what happens as JSON lines, each with its unit.")
@json_option
def build(
    recipe: str,
    inputs: tuple[str, ...],
    output: str | None,
    settings: tuple[str, ...],
    limit: float | None,
    dry_run: bool,
    retry: bool,
    max_gpu_hours: float | None,
    log: str | None,
    as_json: bool,
) -> None:
    """Build a dataset version from recordings, as RECIPE says.

    What was built before is not built again, and a build that was stopped goes on where it was.
    """
    from pipeline.config.recipe import load
    from pipeline.monitoring.event_log import EventLog
    from pipeline.planning.plan import make_plan
    from pipeline.synthesis.run import synthesize

    event_log = EventLog(log)
    loaded = load(recipe, settings, inputs, output, limit)
    synthesis = synthesize(loaded, lambda line: click.echo(line, err=True), make=not dry_run)
    plan = make_plan(loaded, synthesis)
    if dry_run:
        from pipeline.build.dry_run import preview

        shown = preview(plan)
        click.echo(json.dumps(shown.facts, ensure_ascii=False) if as_json else shown.text)
        return
    from pipeline.build.run import build as run
    from pipeline.monitoring.recorder import BuildRecorder

    built = run(plan, retry, BuildRecorder(event_log, max_gpu_hours))
    if as_json:
        click.echo(json.dumps(facts(built), ensure_ascii=False))
    else:
        click.echo(summary(built, plan.dataset.uri))


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
        "seconds": built.seconds,
        "stages": [asdict(row) for row in built.table.rows] if built.table else [],
        "bound": built.table.bound if built.table else None,
    }


def summary(built: "Built", dataset: str) -> str:
    """What a person is told at the end."""
    manifest = built.manifest
    counts, turns = manifest.recordings, manifest.turns
    place = f"{dataset.removeprefix('file://')}/versions/{manifest.version}"
    heads = {
        "published": "published",
        "unchanged": "unchanged: the same outputs were published by an earlier build, or one beside this",
        "nothing new": "nothing new: this plan was built before",
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
        f"  shards      {len(manifest.shards)}, {sum(s.bytes for s in manifest.shards) / 1e6:.1f} MB",
        f"  set aside   {_reasons(manifest) or 'nothing'}",
    ]
    if built.table:
        lines += table_lines(built.table)
    lines.append(f"  report      {place}/report.html")
    return "\n".join(lines)


def _reasons(manifest: Manifest) -> str:
    most = sorted(manifest.set_aside.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{reason} {count}" for reason, count in most[:8])
    return told + (f" and {len(most) - 8} more reasons" if len(most) > 8 else "")
