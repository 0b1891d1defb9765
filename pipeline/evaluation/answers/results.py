"""What an evaluation found, as the command prints it and the report shows it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.evaluation.answers.benchmark import Benchmark
from pipeline.evaluation.answers.exchange import AnswerSampling, SpokenQuestion
from pipeline.evaluation.answers.judge import CRITERIA
from pipeline.evaluation.answers.judging import Judging
from pipeline.evaluation.answers.measures import TITLES
from pipeline.evaluation.answers.summary import (
    OBEYED,
    PEOPLE,
    RULES,
    ModelComparison,
    RowOutcome,
    summed,
    worst,
)
from pipeline.inference.remote_answerer import ModelEndpoint
from pipeline.versions.provenance import code_version
from stages.endpoint import EndpointConfig
from stages.evaluate.estimate import IntervalEstimate

JUDGE_BY_RULES = "rules"


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
    emotions: str | None = None
    """Reference of a recogniser of emotions."""
    endpoint: ModelEndpoint | None = None
    """Where the model of the only checkpoint runs."""
    voice: Path | None = None
    """That the vocoder speaks with."""


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
    judging: Judging
    ears: dict[str, str]
    seconds: dict[str, float]
    """Of this run, by step."""

    @property
    def dimensions(self) -> list[str]:
        return list(dict.fromkeys(row.dimension for row in self.benchmark.rows))

    @property
    def scores(self) -> list[str]:
        """The scores that there are, in the order in which they are shown."""
        judged = CRITERIA if self.judging.about else ()
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
            "measures": {measure: _json(self.estimate(own, measure)) for measure in TITLES},
            "answered": sum(not each.kept.failed for each in own),
            "silent": [each.row.id for each in own if each.kept.silent],
            "failed": {
                each.row.id: {"code": each.kept.failed[0], "message": each.kept.failed[1]}
                for each in own
                if each.kept.failed
            },
        }

    def _estimates(self, outcomes: Sequence[RowOutcome]) -> dict[str, Any]:
        return {score: _json(self.estimate(outcomes, score)) for score in self.scores}

    def estimate(self, outcomes: Iterable[RowOutcome], measure: str) -> IntervalEstimate | None:
        """Mean of a score or measure of rows with its interval; None where there is none."""
        return summed(outcomes, measure, self.options.sampling.seed)

    def _judge(self) -> dict[str, Any]:
        judging = self.judging
        if judging.about is None:
            return {"kind": JUDGE_BY_RULES}
        failed = judging.failures.as_json()
        return {"kind": "endpoint", **judging.about, "failed": failed, "cost": asdict(judging.cost)}


def _json(estimate: Any) -> dict[str, Any] | None:
    return asdict(estimate) if estimate else None


def row_json(outcome: RowOutcome) -> dict[str, Any]:
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
