"""The prompts of the loop: the first questions of a benchmark, each with the checks of its answer."""

from dataclasses import replace

from pipeline.alignment.recipe import AlignRecipe
from pipeline.evaluation.answers.benchmark import Benchmark, open_benchmark
from schemas.benchmark import BenchmarkRow
from schemas.errors import SetupError


def held_out_of(recipe: AlignRecipe) -> Benchmark:
    """What is evaluated after each round. Raises SetupError if no rule judges any of its answers."""
    benchmark = open_benchmark(recipe.evaluate.benchmark).limited(recipe.evaluate.limit)
    if not any(row.checks or any(turn.reference for turn in row.turns) for row in benchmark.rows):
        raise SetupError(
            f"`evaluate.benchmark`: no row of {recipe.evaluate.benchmark} has a check or a `reference`, so "
            "rounds can't be compared: add some"
        )
    return benchmark


def prompts_of(recipe: AlignRecipe, held_out: Benchmark) -> tuple[Benchmark, int]:
    """The prompts, and the number of rows that are left out, since no rule judges their first answer.

    Raises SetupError if none is left, or if the evaluation asks one of them.
    """
    benchmark = open_benchmark(recipe.prompts.benchmark).limited(recipe.prompts.limit)
    asked = [first_question(row) for row in benchmark.rows]
    rows = tuple(row for row in asked if row is not None)
    if not rows:
        raise SetupError(
            f"`prompts.benchmark`: no row of {recipe.prompts.benchmark} has a check or a `reference` for its "
            "first answer, so nothing can be judged: add some"
        )
    evaluated = {_asked(turn.text) for row in held_out.rows for turn in row.turns if turn.text}
    known = [row.id for row in rows if _asked(row.turns[0].text) in evaluated]
    if known:
        raise SetupError(
            f"{len(known)} questions of `prompts` are also asked by `evaluate`, such as that of {known[0]}: "
            "the evaluation would not be of held-out questions. Take them out of one of the two"
        )
    return replace(benchmark, rows=rows), len(asked) - len(rows)


def first_question(row: BenchmarkRow) -> BenchmarkRow | None:
    """A row as its first question alone; None if no rule judges the answer."""
    checks = tuple(
        check.model_copy(update={"turn": 1}) for check in row.checks if (check.turn or len(row.turns)) == 1
    )
    if not checks and not row.turns[0].reference:
        return None
    return row.model_copy(update={"turns": row.turns[:1], "checks": checks, "language": row.spoken_language})


def _asked(text: str | None) -> str | None:
    return " ".join(text.lower().split()) if text else None
