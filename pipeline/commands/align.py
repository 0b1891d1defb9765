"""`aqaa-data align`"""

from typing import TYPE_CHECKING

import click

from pipeline.commands.arguments import json_option, print_json, settings_option, table_of, wide_console
from pipeline.commands.extras import require_extra

if TYPE_CHECKING:
    from pipeline.alignment.loop import AlignLoop, AlignResult


@click.command(epilog="Example: aqaa-data align align.yaml --set rounds=5")
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option("--output", metavar="DIR", help="Where loops are stored, instead of the recipe's output.")
@settings_option("dpo.learning_rate=1e-6")
@click.option("--dry-run", is_flag=True, help="Show what would be done, without doing it.")
@click.option(
    "--sample-only", is_flag=True, help="Stop when the next candidates are sampled, so that people rate them."
)
@json_option
def align(
    recipe: str,
    output: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    sample_only: bool,
    as_json: bool,
) -> None:
    """Improve a model by preferences on its own answers, in rounds, as described in RECIPE.

    A round samples answers to prompts, speaks them, hears them back and judges them by rules (or by people's
    ratings), makes preference pairs, trains on them with DPO, merges, and evaluates held-out questions. The
    loop ends when the evaluation falls, and the best round is named. Stopped anywhere, it goes on there.
    """
    if not dry_run:
        require_extra("train")
    from pipeline.alignment.loop import AlignLoop
    from pipeline.alignment.recipe import load

    loop = AlignLoop(load(recipe, settings, output), lambda line: click.echo(line, err=True))
    if dry_run:
        print_plan(loop, as_json)
        return
    result = loop.run(sample_only)
    if as_json:
        print_json(result.as_json())
    else:
        print_result(result)


def print_plan(loop: "AlignLoop", as_json: bool) -> None:
    """What the loop would do."""
    recipe, prompts = loop.recipe, len(loop.prompts.rows)
    facts = {
        "name": recipe.name,
        "folder": str(loop.folder),
        "checkpoint": str(loop.start),
        "rounds": recipe.rounds,
        "rounds_done": loop.rounds_done,
        "prompts": prompts,
        "prompts_left_out": loop.left_out,
        "answers_per_round": prompts * recipe.candidates.number,
    }
    if as_json:
        print_json(facts)
        return
    click.echo(
        f"{loop.folder}: up to {recipe.rounds} rounds from {loop.start}, {facts['rounds_done']} are done\n"
        f"each round samples {facts['answers_per_round']:,} answers to {prompts:,} prompts "
        f"({loop.left_out:,} rows are left out: no rule judges their first answer)"
    )


def print_result(result: "AlignResult") -> None:
    """The rounds as a table, and the best."""
    table = table_of(
        "round", "rules", "95 %", "word errors", "grammar", "pairs", "candidates", "model", left=1
    )
    for each in result.rounds:
        low, high = each.interval
        measured = [
            f"{each.measures[name]:.3f}" if name in each.measures else ""
            for name in ("word_errors", "grammar")
        ]
        pairs = [f"{each.pairs.pairs}", f"{each.pairs.score:.3f}"] if each.pairs else ["", ""]
        interval = f"{low:.3f} to {high:.3f}"
        table.add_row(f"{each.number}", f"{each.rules:.3f}", interval, *measured, *pairs, each.model)
    table.columns[-1].justify = "left"
    wide_console().print(table)
    click.echo(f"ended: {result.ended}")
    click.echo(f"best: round {result.best.number}, {result.best.model}")
