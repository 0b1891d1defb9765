"""The tables of an ablation: what was measured, with intervals, beside what the paper says."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from pipeline.ablation.cell import MEASURES, CellOutcome
from pipeline.ablation.recipe import AblateRecipe, TableConfig
from stages.evaluate.estimate import IntervalEstimate, mean

GRADED = ("chat", "naturalness")
"""Measures from 1 to 5; the others are shares."""


@dataclass(frozen=True)
class TableRow:
    cell: str
    title: str
    measured: dict[str, IntervalEstimate]
    """Measure -> mean over rows, with its interval by bootstrap over rows. With several seeds the value of a
    row is its mean over them."""
    by_seed: dict[str, list[float]]
    """Measure -> mean over rows for each seed: how much chance of training there is."""
    paper: dict[str, float]
    done: bool
    """Whether all seeds of the cell are trained and answered."""


@dataclass(frozen=True)
class AblationTable:
    title: str
    note: str
    rows: tuple[TableRow, ...]

    @property
    def measures(self) -> list[str]:
        """Those that some row has, in a fixed order."""
        return [name for name in MEASURES if any(name in row.measured for row in self.rows)]

    @property
    def paper(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row.paper))

    def cells(self) -> list[list[str]]:
        """The header and the rows as text."""
        head = ["cell", *self.measures, *(f"paper: {name}" for name in self.paper)]
        body = [
            [
                row.title if row.done else f"{row.title} (not finished)",
                *(shown(name, row.measured.get(name)) for name in self.measures),
                *(f"{row.paper[name]:g}" if name in row.paper else "" for name in self.paper),
            ]
            for row in self.rows
        ]
        return [head, *body]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def tables_of(recipe: AblateRecipe, outcomes: Mapping[tuple[str, int], CellOutcome]) -> list[AblationTable]:
    """`outcomes` by cell and seed."""
    return [_table(recipe, table, outcomes) for table in recipe.tables]


def _table(
    recipe: AblateRecipe, table: TableConfig, outcomes: Mapping[tuple[str, int], CellOutcome]
) -> AblationTable:
    rows = []
    for cell in table.cells:
        own = [found for seed in recipe.seeds if (found := outcomes.get((cell.name, seed)))]
        estimates = {name: _estimate(own, name, recipe.evaluate.seed) for name in MEASURES}
        by_seed = {
            name: [fmean(each.rows[name].values()) for each in own if name in each.rows] for name in MEASURES
        }
        rows.append(
            TableRow(
                cell.name,
                cell.title or cell.name,
                {name: estimate for name, estimate in estimates.items() if estimate},
                {name: values for name, values in by_seed.items() if values},
                cell.paper,
                len(own) == len(recipe.seeds),
            )
        )
    return AblationTable(table.title, table.note.strip(), tuple(rows))


def _estimate(outcomes: Sequence[CellOutcome], measure: str, seed: int) -> IntervalEstimate | None:
    of_row: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for row, value in outcome.rows.get(measure, {}).items():
            of_row[row].append(value)
    return mean([fmean(values) for values in of_row.values()], seed)


def shown(measure: str, estimate: IntervalEstimate | None) -> str:
    if estimate is None:
        return ""
    if measure in GRADED:
        return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.0%} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def as_markdown(tables: Sequence[AblationTable]) -> str:
    """All tables, each with its note."""
    parts = []
    for table in tables:
        head, *body = table.cells()
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
        parts += [f"## {table.title}", "\n".join(f"| {' | '.join(line)} |" for line in lines), table.note]
    return "\n\n".join(part for part in parts if part) + "\n"
