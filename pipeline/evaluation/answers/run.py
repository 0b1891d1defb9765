"""`aqaa-data evaluate answers`: from its options to its results."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from pipeline.evaluation.answers import lineage
from pipeline.evaluation.answers.answering import answer_benchmark, prepare_questions, write_candidates
from pipeline.evaluation.answers.benchmark import Benchmark, open_benchmark
from pipeline.evaluation.answers.ears import Ears
from pipeline.evaluation.answers.exchange import AnswerSampling, SpokenQuestion
from pipeline.evaluation.answers.judge import CRITERIA, AnswerJudge, JudgeFailures, PairVerdict, Verdict
from pipeline.evaluation.answers.kept import RATINGS, RESULTS, EvaluationFolder, KeptRow
from pipeline.evaluation.answers.measures import TITLES, facts_for_judge, measures_of
from pipeline.evaluation.answers.models import names_of, open_model
from pipeline.evaluation.answers.people import scores_of_people
from pipeline.evaluation.answers.rules import judge_by_rules
from pipeline.evaluation.answers.summary import (
    OBEYED,
    PEOPLE,
    RULES,
    ModelComparison,
    PairVerdicts,
    RowOutcome,
    comparisons,
    summed,
    worst,
)
from pipeline.evaluation.answers.voices import PackagedVoices
from pipeline.storage.store import Store
from pipeline.versions.provenance import code_version
from schemas.benchmark import BenchmarkRow
from schemas.errors import DataError, SetupError
from stages.endpoint import EndpointConfig
from stages.replies import Cost, Replies

JUDGE_BY_RULES = "rules"

Say = Callable[[str], None]


@dataclass(frozen=True)
class AnswersOptions:
    """What to evaluate, and how."""

    benchmark: str
    models: tuple[str, ...]
    out: Path
    judge: EndpointConfig | None = None
    """None: rules only."""
    judge_listens: bool = False
    """Send the judge the recordings of answers too."""
    limit: int | None = None
    """Rows of each dimension."""
    sampling: AnswerSampling = field(default_factory=AnswerSampling)
    vocoder: Path | None = None
    """Of checkpoints; the bundled one by default."""


@dataclass(frozen=True)
class AnswersEvaluation:
    options: AnswersOptions
    benchmark: Benchmark
    not_asked: dict[str, str]
    """Row -> why it could not be asked."""
    models: dict[str, dict[str, Any]]
    """Name -> what it is."""
    outcomes: tuple[RowOutcome, ...]
    comparisons: tuple[ModelComparison, ...]
    questions: dict[str, tuple[SpokenQuestion, ...]]
    judge: dict[str, Any] | None
    failures: JudgeFailures
    cost: Cost
    """Of the judge, with kept replies."""
    ears: dict[str, str]
    seconds: dict[str, float]
    """Of this run, by step."""

    @property
    def dimensions(self) -> list[str]:
        return list(dict.fromkeys(row.dimension for row in self.benchmark.rows))

    @property
    def scores(self) -> list[str]:
        """The scores that there are, in the order in which they are shown."""
        judged = CRITERIA if self.judge else ()
        people = [PEOPLE] if any(each.people is not None for each in self.outcomes) else []
        return [RULES, OBEYED, *judged, *people]

    def of(self, model: str, dimension: str | None = None) -> list[RowOutcome]:
        return [
            each for each in self.outcomes if each.model == model and dimension in (None, each.row.dimension)
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "benchmark": {
                "name": self.benchmark.name,
                "place": self.options.benchmark,
                "version": self.benchmark.version,
                "limit": self.options.limit,
                "rows": len(self.benchmark.rows),
                "refused": list(self.benchmark.refused),
                "not_asked": self.not_asked,
            },
            "sampling": asdict(self.options.sampling),
            "models": {name: self._model(name) for name in self.models},
            "comparisons": [each.as_json() for each in self.comparisons],
            "judge": self._judge(),
            "worst": [
                {"model": each.model, "row": each.row.id, "rules": each.rules, "chat": each.value("chat")}
                for each in worst(self.outcomes)
            ],
            "ears": self.ears,
            "seconds": self.seconds,
            "code_version": code_version(),
        }

    def _model(self, name: str) -> dict[str, Any]:
        own = self.of(name)
        return {
            "about": self.models[name],
            "overall": self._estimates(own),
            "dimensions": {each: self._estimates(self.of(name, each)) for each in self.dimensions},
            "measures": {measure: _json(summed(own, measure)) for measure in TITLES},
            "answered": sum(not each.kept.failed for each in own),
            "silent": [each.row.id for each in own if each.kept.silent],
            "failed": {
                each.row.id: {"code": each.kept.failed[0], "message": each.kept.failed[1]}
                for each in own
                if each.kept.failed
            },
        }

    def _estimates(self, outcomes: Sequence[RowOutcome]) -> dict[str, Any]:
        return {score: _json(summed(outcomes, score)) for score in self.scores}

    def _judge(self) -> dict[str, Any]:
        if self.judge is None:
            return {"kind": JUDGE_BY_RULES}
        return {
            "kind": "endpoint",
            **self.judge,
            "failed": self.failures.as_json(),
            "cost": asdict(self.cost),
        }


def _json(estimate: Any) -> dict[str, Any] | None:
    return asdict(estimate) if estimate else None


def evaluate_answers(options: AnswersOptions, say: Say = lambda line: None) -> AnswersEvaluation:
    """Run the evaluation, or go on with it. Raises SetupError for what is missing, before any answer."""
    benchmark = open_benchmark(options.benchmark).limited(options.limit)
    names = names_of(options.models)
    folder = EvaluationFolder(options.out)
    folder.begin(
        {
            "benchmark": benchmark.name,
            "benchmark_version": benchmark.version,
            "limit": options.limit,
            "sampling": asdict(options.sampling),
        }
    )
    ears, voices = cache(Ears), PackagedVoices()
    clock = _Steps()
    questions, not_asked = prepare_questions(benchmark, folder, voices, say)
    if not questions:
        raise SetupError(f"no row of {options.benchmark} can be asked: {next(iter(not_asked.values()))}")
    clock.done("questions")
    answers: dict[str, dict[str, KeptRow]] = {}
    models: dict[str, dict[str, Any]] = {}
    for name, place in zip(names, options.models, strict=True):
        model = open_model(name, place, options.out, ears, voices, options.vocoder)
        models[name] = model.about()
        folder.begin_model(name, models[name])
        answers[name] = answer_benchmark(benchmark, model, questions, options.sampling, folder, ears(), say)
        del model  # a checkpoint's memory is free before the next is loaded
    write_candidates(benchmark, answers, questions, folder)
    clock.done("answers")
    judging = _judged(options, benchmark, answers, say)
    clock.done("judge")
    people = scores_of_people(options.out / RATINGS)
    outcomes = tuple(
        RowOutcome(
            name,
            row,
            kept,
            tuple(judge_by_rules(row, kept.seen)) if not kept.failed else (),
            measures_of(kept.turns, row.spoken_language),
            judging.verdicts.get((name, row.id)),
            people.get((row.id, name)),
        )
        for name in names
        for row in benchmark.rows
        if (kept := answers[name].get(row.id)) is not None
    )
    evaluation = AnswersEvaluation(
        options,
        benchmark,
        not_asked,
        models,
        outcomes,
        tuple(comparisons(names, outcomes, judging.pairs, options.sampling.seed)),
        questions,
        judging.about,
        judging.failures,
        judging.cost,
        ears().about(),
        clock.seconds,
    )
    content = evaluation.as_json() | {"answers": [_row(each) for each in outcomes]}
    folder.write(RESULTS, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
    for name in names:
        lineage.note(models[name], evaluation.as_json(), name, options.out, say)
    return evaluation


@dataclass
class _Judging:
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    """(model, row) -> verdict."""
    pairs: PairVerdicts = field(default_factory=dict)
    about: dict[str, Any] | None = None
    failures: JudgeFailures = field(default_factory=JudgeFailures)
    cost: Cost = field(default_factory=Cost)


def _judged(
    options: AnswersOptions, benchmark: Benchmark, answers: dict[str, dict[str, KeptRow]], say: Say
) -> _Judging:
    """The verdicts on all answers and pairs of models."""
    judging = _Judging()
    if options.judge is None:
        return judging
    verdicts = Replies(Store(str(options.out)), "verdicts")
    judge = AnswerJudge(options.judge, verdicts, options.judge_listens)
    folder = EvaluationFolder(options.out)
    judging.about = judge.about()
    rows = {row.id: row for row in benchmark.rows}
    alone = [(name, id) for name, own in answers.items() for id, kept in own.items() if not kept.failed]

    def one(item: tuple[str, str]) -> Verdict:
        name, id = item
        seen = answers[name][id].seen
        facts = facts_for_judge([turn.heard for turn in seen])
        return judge.judge(rows[id], seen, facts, folder.last_recording(answers[name][id]))

    for (name, id), verdict in judge.each(alone, one, lambda n: say(f"{n} of {len(alone)} answers judged")):
        if isinstance(verdict, DataError):
            judging.failures.add(f"{name}, {id}", verdict)
        else:
            judging.verdicts[name, id] = verdict
    for a, b in combinations(answers, 2):
        both = [row for name, row in alone if name == a and (b, row) in set(alone)]
        _compare(judge, judging, (a, b), both, rows, answers, folder, say)
    judging.cost = judge.endpoint.spent
    return judging


def _compare(
    judge: AnswerJudge,
    judging: _Judging,
    models: tuple[str, str],
    both: list[str],
    rows: dict[str, BenchmarkRow],
    answers: dict[str, dict[str, KeptRow]],
    folder: EvaluationFolder,
    say: Say,
) -> None:
    """Compare two models on the rows that both answered."""
    a, b = models

    def pair(row: str) -> PairVerdict:
        one, other = answers[a][row], answers[b][row]
        heard = (folder.last_recording(one), folder.last_recording(other))
        return judge.compare(rows[row], one.seen, other.seen, heard)

    found = dict(judge.each(both, pair, lambda n: say(f"{n} of {len(both)} pairs compared")))
    judging.pairs[models] = found
    for row, result in found.items():
        if isinstance(result, DataError):
            judging.failures.add(f"{a} and {b}, {row}", result)


def _row(outcome: RowOutcome) -> dict[str, Any]:
    """A row of `results.json`."""
    verdict = outcome.verdict
    return {
        "model": outcome.model,
        "row": outcome.row.id,
        "dimension": outcome.row.dimension,
        "rules": outcome.rules,
        "obeyed": outcome.obeyed,
        "people": outcome.people,
        "checks": [check.as_json() for check in outcome.checks],
        "verdict": verdict and {"scores": verdict.scores, "reason": verdict.reason, "raw": verdict.raw},
        "measures": outcome.measures,
        "turns": [
            {"written": turn.text, "heard": turn.heard.text, "audio": turn.audio, "latency": turn.latency}
            for turn in outcome.kept.turns
        ],
        "failed": outcome.kept.failed,
    }


class _Steps:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def done(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step] = round(now - self._last, 1)
        self._last = now
