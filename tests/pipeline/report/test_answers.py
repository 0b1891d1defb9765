"""The page of `evaluate answers`, from made-up answers."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.answers.benchmark import open_benchmark
from pipeline.evaluation.answers.ears import Heard
from pipeline.evaluation.answers.exchange import SpokenAnswer, SpokenQuestion
from pipeline.evaluation.answers.judge import AnswerVerdict, JudgeFailures, PairVerdict
from pipeline.evaluation.answers.judging import Judging
from pipeline.evaluation.answers.kept import EvaluationFolder
from pipeline.evaluation.answers.measures import measures_of
from pipeline.evaluation.answers.results import AnswersEvaluation, AnswersOptions
from pipeline.evaluation.answers.rules import judge_by_rules
from pipeline.evaluation.answers.summary import RowOutcome, comparisons
from pipeline.inference.wav import wav
from pipeline.report.answers import render
from schemas.benchmark import DIMENSIONS
from stages.replies import Cost

TONE = 0.1 * np.sin(np.arange(16_000) / 5).astype(np.float32)
HEARD = Heard("the moon <script>", "en", 0.9, 1.0, 0.8, 0.25, 3.5, 12.0, 150.0, 5.0, -23.0, (0.6, 0.8))


def outcome(folder, model, row, number):
    if model == "late" and number == 3:
        folder.keep_failure(model, row.id, "timeout", "it took over 120 s")
    else:
        silent = model == "early" and number == 5
        answer = SpokenAnswer("", None) if silent else SpokenAnswer("The moon <b>.", TONE, 16_000)
        heard = Heard("") if silent else replace(HEARD, pitch_hz=150.0 + number)
        folder.keep(model, row.id, [(answer, heard)] * len(row.turns))
    kept = folder.answers(model, row.id)
    chat = float(1 + (number + (model == "late")) % 5)
    scores = {
        "chat": chat,
        "relevance": 1,
        "factuality": 1,
        "instruction_following": 0,
        "naturalness": 4,
        "safety": 1,
    }
    checks = () if kept.failed else tuple(judge_by_rules(row, kept.seen))
    verdict = None if kept.failed else AnswerVerdict(scores, "Good & short.", ("{}",))
    return RowOutcome(model, row, kept, checks, measures_of(kept.turns, "en"), verdict)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    folder = EvaluationFolder(tmp_path_factory.mktemp("answers"))
    benchmark = open_benchmark("builtin").limited(2)
    outcomes = [
        outcome(folder, model, row, number)
        for model in ("early", "late")
        for number, row in enumerate(benchmark.rows)
    ]
    verdicts = {("early", "late"): {row.id: PairVerdict("B", False, ()) for row in benchmark.rows[1:]}}
    verdicts["early", "late"][benchmark.rows[0].id] = PairVerdict("tie", True, ())
    questions = {
        row.id: tuple(
            SpokenQuestion(folder.question(row.id, n, wav(TONE, 16_000)), turn.text, row.spoken_language)
            for n, turn in enumerate(row.turns, 1)
        )
        for row in benchmark.rows
    }
    return AnswersEvaluation(
        AnswersOptions("builtin", ("early", "late"), folder.path, limit=2),
        benchmark,
        {"lost": "no such file"},
        {
            name: {"kind": "checkpoint", "place": f"/runs/{name}", "sha256": "f" * 64}
            for name in ("early", "late")
        },
        tuple(outcomes),
        tuple(comparisons(["early", "late"], outcomes, verdicts, 0)),
        questions,
        Judging(
            pairs=verdicts,
            about={"place": "http://judge/v1", "model": "j", "rubrics": {"answer-1": "abc"}},
            failures=JudgeFailures(Counter(timeout=1), ["early, x: it took over 120 s"]),
            cost=Cost(requests=40, tokens=1234),
        ),
        {},
        {"questions": 1.0, "answers": 90.0},
    )


@pytest.fixture(scope="module")
def page(evaluation):
    return render(evaluation)


def test_each_dimension_has_a_row_in_each_table_and_an_axis_in_each_plot(page):
    for dimension in DIMENSIONS:
        assert page.count(f">{dimension.replace('_', ' ')}<") >= 9
    assert page.count("<details open>") == 2  # the rules and the judge's grade
    assert page.count('<svg class="chart radar"') == 2


def test_win_rates_and_contradictions_are_there(page):
    assert "early against late" in page
    row = next(line for line in page.splitlines() if "early against late" in line and ">judge<" in line)
    assert re.findall(r'<td class="n">(\d+)</td>', row) == ["0", "1", "17", "1"]


def test_the_worst_twenty_can_be_heard(page):
    assert page.count('<article class="heard">') == 20
    assert page.count("<audio") >= 40
    assert "judge: Good &amp; short." in page


def test_what_failed_was_silent_or_not_asked_is_named_with_the_cost(page):
    for part in ("it took over 120 s", "answers these rows with nothing", "no such file", "1,234 tokens"):
        assert part in page


def test_answers_are_escaped_and_nothing_is_loaded(page):
    assert "<script" not in page
    assert "The moon &lt;b&gt;." in page
    assert not re.search(r'(src|href)="(?!data:)', page)
