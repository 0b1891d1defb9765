"""`aqaa-data build`"""

import json
import re
from typing import Any

import click

from pipeline.commands.arguments import json_option
from schemas.manifest import Manifest


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
@json_option
def build(
    recipe: str,
    inputs: tuple[str, ...],
    output: str | None,
    settings: tuple[str, ...],
    limit: float | None,
    dry_run: bool,
    retry: bool,
    as_json: bool,
) -> None:
    """Build a dataset version from recordings, as RECIPE says.

    What was built before is not built again, and a build that was stopped goes on where it was.
    """
    from pipeline.plan import make_plan
    from pipeline.recipe import load
    from pipeline.synthesis import synthesize

    loaded = load(recipe, settings, inputs, output, limit)
    synthesis = synthesize(loaded, lambda line: click.echo(line, err=True), make=not dry_run)
    plan = make_plan(loaded, synthesis)
    if dry_run:
        from pipeline.dry_run import preview

        shown = preview(plan)
        click.echo(json.dumps(shown.facts, ensure_ascii=False) if as_json else shown.text)
        return
    from pipeline.build import build as run

    built = run(plan, retry)
    if as_json:
        click.echo(json.dumps(facts(built.manifest, built.status, built.seconds), ensure_ascii=False))
    else:
        click.echo(summary(built.manifest, built.status, built.seconds, plan.dataset.uri))


def facts(manifest: Manifest, status: str, seconds: dict[str, float]) -> dict[str, Any]:
    """What `--json` prints."""
    counts = manifest.recordings
    return {
        "dataset": manifest.dataset,
        "version": manifest.version,
        "status": status,
        "recordings": {"in": counts.in_, "kept": counts.kept, "set_aside": counts.set_aside},
        "turns": manifest.turns.model_dump(),
        "samples": manifest.samples,
        "audio_seconds": manifest.audio_seconds,
        "shards": [shard.model_dump(exclude={"split"}) for shard in manifest.shards],
        "seconds": seconds,
    }


def summary(manifest: Manifest, status: str, seconds: dict[str, float], dataset: str) -> str:
    """What a person is told at the end."""
    counts, turns = manifest.recordings, manifest.turns
    place = f"{dataset.removeprefix('file://')}/versions/{manifest.version}"
    heads = {
        "published": "published",
        "unchanged": "unchanged: the same outputs were published before",
        "nothing new": "nothing new: this plan was built before",
    }
    lines = [
        f"{manifest.dataset}@{manifest.version} {heads[status]}",
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
    if seconds:
        lines.append(f"  seconds     {', '.join(f'{name} {value:.0f}' for name, value in seconds.items())}")
    lines.append(f"  report      {place}/report.html")
    return "\n".join(lines)


def _reasons(manifest: Manifest) -> str:
    most = sorted(manifest.set_aside.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{reason} {count}" for reason, count in most[:8])
    return told + (f" and {len(most) - 8} more reasons" if len(most) > 8 else "")
