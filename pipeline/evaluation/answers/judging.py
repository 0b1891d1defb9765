"""The verdicts of a language model on all answers of an evaluation, and on all pairs of models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from pipeline.evaluation.answers.judge import AnswerJudge, AnswerVerdict, JudgeFailures, PairVerdict
from pipeline.evaluation.answers.kept import EvaluationFolder, KeptRow
from pipeline.evaluation.answers.measures import facts_for_judge
from pipeline.evaluation.answers.summary import PairVerdicts
from schemas.benchmark import BenchmarkRow
from schemas.errors import DataError
from stages.replies import Cost

Answers = Mapping[str, Mapping[str, KeptRow]]
"""Model -> row -> answers."""


@dataclass
class Judging:
    verdicts: dict[tuple[str, str], AnswerVerdict] = field(default_factory=dict)
    """(model, row) -> verdict."""
    pairs: PairVerdicts = field(default_factory=dict)
    about: dict[str, Any] | None = None
    """What the verdicts depend on; None without a judge."""
    failures: JudgeFailures = field(default_factory=JudgeFailures)
    cost: Cost = field(default_factory=Cost)
    """Of the judge, with kept replies."""


def judge_all(
    judge: AnswerJudge,
    rows: Sequence[BenchmarkRow],
    answers: Answers,
    folder: EvaluationFolder,
    say: Callable[[str], None] = lambda line: None,
) -> Judging:
    """Judge each answer alone, and each pair of models on the rows that both answered.

    What the judge doesn't answer is in `failures`, and has no verdict.
    """
    judging = Judging(about=judge.about())
    by_id = {row.id: row for row in rows}
    alone = [(name, id) for name, own in answers.items() for id, kept in own.items() if not kept.failed]

    def one(item: tuple[str, str]) -> AnswerVerdict:
        name, id = item
        kept = answers[name][id]
        facts = facts_for_judge([turn.heard for turn in kept.turns])
        return judge.judge(by_id[id], kept.seen, facts, folder.last_recording(kept))

    for (name, id), verdict in judge.each(alone, one, lambda n: say(f"{n} of {len(alone)} answers judged")):
        if isinstance(verdict, DataError):
            judging.failures.add(f"{name}, {id}", verdict)
        else:
            judging.verdicts[name, id] = verdict
    for a, b in combinations(answers, 2):
        given = set(alone)
        both = [id for id in by_id if (a, id) in given and (b, id) in given]
        judging.pairs[a, b] = found = _compared(judge, (a, b), both, by_id, answers, folder, say)
        for id, result in found.items():
            if isinstance(result, DataError):
                judging.failures.add(f"{a} and {b}, {id}", result)
    judging.cost = judge.endpoint.spent
    return judging


def _compared(
    judge: AnswerJudge,
    models: tuple[str, str],
    both: Sequence[str],
    rows: Mapping[str, BenchmarkRow],
    answers: Answers,
    folder: EvaluationFolder,
    say: Callable[[str], None],
) -> dict[str, PairVerdict | DataError]:
    """Row -> verdict on two models."""

    def pair(id: str) -> PairVerdict:
        one, other = (answers[name][id] for name in models)
        heard = (folder.last_recording(one), folder.last_recording(other))
        return judge.compare(rows[id], one.seen, other.seen, heard)

    return dict(judge.each(both, pair, lambda n: say(f"{n} of {len(both)} pairs compared")))
