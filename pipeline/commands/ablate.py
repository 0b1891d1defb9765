"""`aqaa-data ablate`"""

from typing import TYPE_CHECKING

import click

from pipeline.commands.arguments import json_option, print_json, settings_option, table_of, wide_console
from pipeline.commands.extras import require_extra

if TYPE_CHECKING:
    from pipeline.ablation.run import Ablation, AblationResult


@click.command(epilog="Example: aqaa-data ablate pipeline/recipes/ablations/paper.yaml --cell ratio-10-15")
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option("--output", metavar="DIR", help="Where ablations are stored, instead of the recipe's output.")
@click.option(
    "--cell",
    "cells",
    metavar="NAME",
    multiple=True,
    help="Finish only this cell; may be repeated. Machines that share the folder can do cells side by side.",
)
@settings_option("evaluate.limit=2")
@click.option("--dry-run", is_flag=True, help="Show what would be done, without doing it.")
@json_option
def ablate(
    recipe: str,
    output: str | None,
    cells: tuple[str, ...],
    settings: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Compare ways to pack and to train in tables, cell by cell, as described in RECIPE.

    Each cell is packed from one annotation, trained with the same steps and seeds, answers the same benchmark
    and is judged. The tables have 95 % intervals, beside the paper's numbers. Stopped anywhere, it goes on
    there.
    """
    if not dry_run:
        require_extra("train")
    from pipeline.ablation.recipe import load
    from pipeline.ablation.run import Ablation

    ablation = Ablation(load(recipe, settings, output), lambda line: click.echo(line, err=True))
    if dry_run:
        print_plan(ablation, as_json)
        return
    result = ablation.run(cells)
    if as_json:
        print_json(result.as_json())
    else:
        print_tables(result, str(ablation.folder))


def print_plan(ablation: "Ablation", as_json: bool) -> None:
    """What the ablation would do."""
    done = [key for key, run in ablation.runs.items() if run.outcome()]
    cells = {
        cell.name: {
            "build": cell.build,
            "train": cell.train,
            "seeds": list(ablation.recipe.seeds),
            "seeds_done": [seed for name, seed in done if name == cell.name],
        }
        for cell in ablation.recipe.cells
    }
    rows = len(ablation.benchmark.rows)
    if as_json:
        print_json({"folder": str(ablation.folder), "rows": rows, "cells": cells})
        return
    click.echo(
        f"{ablation.folder}: {len(ablation.runs)} trainings, {len(done)} are done; each answers {rows} rows"
    )
    for name, facts in cells.items():
        state = "done" if facts["seeds"] == facts["seeds_done"] else "to do"
        click.echo(
            f"  {name}: {state}; build {facts['build'] or 'as it is'}, train {facts['train'] or 'as it is'}"
        )


def print_tables(result: "AblationResult", folder: str) -> None:
    """The tables with their notes."""
    shown = [(table.title, table.cells(), table.note) for table in result.tables]
    if result.codebooks:
        shown.append(("Two codebooks against one", result.codebooks.cells(), result.codebooks.note))
    for title, (head, *body), note in shown:
        table = table_of(*head, left=1)
        for line in body:
            table.add_row(*line)
        click.echo(f"\n{title}")
        wide_console().print(table)
        if note:
            click.echo(note)
    if result.waiting:
        click.echo(f"\nnot finished: {', '.join(result.waiting)}", err=True)
    click.echo(f"\nin brackets: 95 % bootstrap intervals over rows; written to {folder}/tables.md")
