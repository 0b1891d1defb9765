"""The outcome of an evaluation, row by row and summed up with confidence intervals over prompts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from pipeline.evaluation.answers.judge import CRITERIA, AnswerVerdict, PairVerdict
from pipeline.evaluation.answers.kept import KeptRow
from pipeline.evaluation.answers.measures import measures_of
from pipeline.evaluation.answers.rules import CheckResult, judge_by_rules, score_of
from schemas.benchmark import BenchmarkRow
from schemas.errors import DataError
from stages.evaluate.estimate import IntervalEstimate, mean

RULES = "rules"
OBEYED = "obeyed"
"""Share of the requested changes of the voice that were measured."""
PEOPLE = "people"
WORST = 20


@dataclass(frozen=True)
class RowOutcome:
    """A row as one model answered it."""

    model: str
    row: BenchmarkRow
    kept: KeptRow
    checks: tuple[CheckResult, ...]
    measures: dict[str, float | None]
    verdict: AnswerVerdict | None = None
    """None without a judge, and where it gave none."""
    people: float | None = None
    """Mean score of the raters, 1 to 5."""

    @classmethod
    def of(
        cls,
        model: str,
        row: BenchmarkRow,
        kept: KeptRow,
        verdict: AnswerVerdict | None = None,
        people: float | None = None,
    ) -> "RowOutcome":
        """Judges a row by the rules, and measures it."""
        checks = () if kept.failed else tuple(judge_by_rules(row, kept.seen))
        return cls(model, row, kept, checks, measures_of(kept.turns, row.spoken_language), verdict, people)

    @property
    def rules(self) -> float | None:
        return None if self.kept.failed else score_of(self.checks)

    @property
    def obeyed(self) -> float | None:
        changes = [check.score for check in self.checks if check.kind in ("voice", "voice_turns")]
        return sum(changes) / len(changes) if changes and not self.kept.failed else None

    def value(self, measure: str) -> float | None:
        """Of `rules`, `obeyed`, `people`, a criterion of the judge or a measure of the ears."""
        if measure in (RULES, OBEYED, PEOPLE):
            value: float | None = getattr(self, measure)
            return value
        if measure in CRITERIA:
            return self.verdict.scores[measure] if self.verdict else None
        return self.measures.get(measure)

    @property
    def badness(self) -> tuple[float, float]:
        """The lowest is the worst."""
        rules = 1.0 if self.rules is None else self.rules
        return (self.verdict.scores["chat"] if self.verdict else 5.0), rules


@dataclass(frozen=True)
class ModelComparison:
    """Two models on the rows that both answered: the share that the first wins, a tie counting half."""

    a: str
    b: str
    by: str
    """`rules`, `judge` or `people`."""
    win_rate: IntervalEstimate | None
    wins: int
    ties: int
    losses: int
    contradictions: int = 0
    """Of the judge, which count as ties."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


PairVerdicts = dict[tuple[str, str], dict[str, PairVerdict | DataError]]
"""(A, B) -> row -> verdict."""


def summed(outcomes: Iterable[RowOutcome], measure: str, seed: int = 0) -> IntervalEstimate | None:
    """Mean of a measure over the rows that have it, with its interval by bootstrap over rows."""
    return mean([outcome.value(measure) for outcome in outcomes], seed)


def comparisons(
    models: Sequence[str], outcomes: Sequence[RowOutcome], verdicts: PairVerdicts, seed: int
) -> list[ModelComparison]:
    found = []
    for a, b in combinations(models, 2):
        for by in (RULES, PEOPLE):
            pairs = _paired(outcomes, a, b, lambda outcome, by=by: outcome.value(by))  # type: ignore[misc]
            if pairs:
                found.append(_compared(a, b, by, [_outcome(x, y) for x, y in pairs], seed))
        judged = [each for each in verdicts.get((a, b), {}).values() if isinstance(each, PairVerdict)]
        if judged:
            scores = [{"A": 1.0, "B": 0.0, "tie": 0.5}[each.better] for each in judged]
            contradictions = sum(each.contradicts for each in judged)
            found.append(_compared(a, b, "judge", scores, seed, contradictions))
    return found


def _paired(
    outcomes: Sequence[RowOutcome], a: str, b: str, value: Callable[[RowOutcome], float | None]
) -> list[tuple[float, float]]:
    of: dict[str, dict[str, float]] = {a: {}, b: {}}
    for outcome in outcomes:
        if outcome.model in of and (own := value(outcome)) is not None:
            of[outcome.model][outcome.row.id] = own
    return [(of[a][row], of[b][row]) for row in of[a] if row in of[b]]


def _outcome(x: float, y: float) -> float:
    return 0.5 if x == y else float(x > y)


def _compared(
    a: str, b: str, by: str, scores: Sequence[float], seed: int, contradictions: int = 0
) -> ModelComparison:
    wins, ties = scores.count(1.0), scores.count(0.5)
    return ModelComparison(
        a, b, by, mean(scores, seed), wins, ties, len(scores) - wins - ties, contradictions
    )


def worst(outcomes: Iterable[RowOutcome], count: int = WORST) -> list[RowOutcome]:
    """The rows with the lowest scores that aren't perfect, the worst first."""
    scored = [each for each in outcomes if not each.kept.failed and each.badness < (5.0, 1.0)]
    return sorted(scored, key=lambda each: (*each.badness, each.model, each.row.id))[:count]
