"""The page of `aqaa-data evaluate answers`: one self-contained file."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.evaluation.answers.kept import REPORT, EvaluationFolder
from pipeline.evaluation.answers.measures import TITLES
from pipeline.evaluation.answers.results import AnswersEvaluation
from pipeline.evaluation.answers.summary import RowOutcome, worst
from pipeline.report.listen import mp3_base64
from pipeline.report.page import template
from pipeline.report.radar import radar
from schemas.errors import DataError
from stages.decode.config import DecodeConfig
from stages.decode.whole import read_whole
from stages.evaluate.estimate import IntervalEstimate
from stages.tokenize.resample import to_16k

SCORE_TITLES = {
    "rules": "Rules: share of checks passed",
    "obeyed": "Changes of the voice obeyed, by measure",
    "chat": "Judge: chat, 1 to 5",
    "relevance": "Judge: relevant",
    "factuality": "Judge: factual",
    "instruction_following": "Judge: follows the instruction",
    "naturalness": "Judge: natural, 1 to 5",
    "safety": "Judge: safe",
    "people": "People, 1 to 5",
}

GRADED = ("chat", "naturalness", "people")
"""Scores from 1 to 5; the others are shares."""
SHARES = ("word_errors", "right_language", "grammar")
"""Measures that are shares."""


def write_report(evaluation: AnswersEvaluation) -> Path:
    """Write the page into the folder of an evaluation; returns its file."""
    file = evaluation.options.out / REPORT
    file.write_text(render(evaluation), encoding="utf-8")
    return file


def render(evaluation: AnswersEvaluation) -> str:
    """The page as HTML."""
    folder = EvaluationFolder(evaluation.options.out)
    return template("answers.html").render(
        evaluation=evaluation,
        facts=evaluation.as_json(),
        names=list(evaluation.models),
        scores=evaluation.scores,
        titles=SCORE_TITLES,
        measure_titles=TITLES,
        shown=lambda name, dimension, score: shown(evaluation, name, dimension, score),
        shown_by_any=lambda dimension, score: any(
            shown(evaluation, name, dimension, score) for name in evaluation.models
        ),
        main=_drawn(evaluation),
        measured=lambda name, measure: written(measure, evaluation.estimate(evaluation.of(name), measure)),
        radars=[(SCORE_TITLES[score], _radar(evaluation, score)) for score in _drawn(evaluation)],
        cards=[_card(each, evaluation, folder) for each in worst(evaluation.outcomes)],
    )


def shown(evaluation: AnswersEvaluation, model: str, dimension: str | None, score: str) -> str:
    """A score of a model in a dimension, or in all, with its interval; empty if there is none."""
    return written(score, evaluation.estimate(evaluation.of(model, dimension), score))


def written(name: str, estimate: IntervalEstimate | None) -> str:
    if estimate is None:
        return ""
    if (name in SCORE_TITLES and name not in GRADED) or name in SHARES:
        return f"{estimate.value:.0%} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _drawn(evaluation: AnswersEvaluation) -> list[str]:
    """The scores with a plot: of the judge or the people where there are some, and of the rules."""
    return [score for score in ("chat", "people", "rules") if score in evaluation.scores]


def _radar(evaluation: AnswersEvaluation, score: str) -> Markup:
    values = {
        name: [
            estimate.value if (estimate := evaluation.estimate(evaluation.of(name, each), score)) else None
            for each in evaluation.dimensions
        ]
        for name in evaluation.models
    }
    low, high = (1.0, 5.0) if score in GRADED else (0.0, 1.0)
    return radar(evaluation.dimensions, values, low, high)


def _card(outcome: RowOutcome, evaluation: AnswersEvaluation, folder: EvaluationFolder) -> dict[str, Any]:
    """A conversation to listen to."""
    asked = evaluation.questions[outcome.row.id]
    return {
        "outcome": outcome,
        "turns": [
            {
                "asked": question.text,
                "question": _question(question.audio),
                "written": turn.text,
                "heard": turn.heard.text if turn.audio else None,
                "answer": _played(*folder.samples(turn.audio)) if turn.audio else None,
            }
            for question, turn in zip(asked, outcome.kept.turns, strict=True)
        ],
        "failed": [check for check in outcome.checks if check.score < 1],
    }


def _question(file: Any) -> Markup | None:
    try:
        return _played(*read_whole(file, DecodeConfig()))
    except DataError:
        return None


def _played(samples: Any, rate: int) -> Markup:
    data = mp3_base64(to_16k(samples, rate))
    return Markup(f'<audio controls preload="none" src="data:audio/mpeg;base64,{data}"></audio>')
