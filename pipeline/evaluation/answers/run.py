"""`aqaa-data evaluate answers`: from its options to its results."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from typing import Any

from pipeline.evaluation.answers import lineage
from pipeline.evaluation.answers.answering import answer_benchmark, prepare_questions, write_candidates
from pipeline.evaluation.answers.benchmark import open_benchmark
from pipeline.evaluation.answers.ears import Ears
from pipeline.evaluation.answers.judge import AnswerJudge
from pipeline.evaluation.answers.judging import Judging, judge_all
from pipeline.evaluation.answers.kept import RATINGS, RESULTS, EvaluationFolder, KeptRow
from pipeline.evaluation.answers.models import check_place, is_server, names_of, open_model
from pipeline.evaluation.answers.people import scores_of_people
from pipeline.evaluation.answers.results import AnswersEvaluation, AnswersOptions, row_json
from pipeline.evaluation.answers.summary import RowOutcome, comparisons
from pipeline.evaluation.answers.voices import PackagedVoices
from pipeline.storage.store import Store
from schemas.errors import SetupError
from stages.replies import Replies

Say = Callable[[str], None]


def evaluate_answers(options: AnswersOptions, say: Say = lambda line: None) -> AnswersEvaluation:
    """Run the evaluation, or go on with it. Raises SetupError for what is missing, before any answer."""
    benchmark = open_benchmark(options.benchmark).limited(options.limit)
    names = names_of(options.models)
    for place in options.models:
        check_place(place)
    if options.endpoint is not None and sum(not is_server(place) for place in options.models) != 1:
        raise SetupError("an endpoint runs one checkpoint: name exactly one with --model")
    folder = EvaluationFolder(options.out)
    folder.begin(
        {
            "benchmark": benchmark.name,
            "benchmark_version": benchmark.version,
            "limit": options.limit,
            "sampling": asdict(options.sampling),
            **({"emotions": options.emotions} if options.emotions else {}),
        }
    )
    ears, voices = cache(partial(Ears, options.emotions)), PackagedVoices()
    clock = _Steps()
    questions, not_asked = prepare_questions(benchmark, folder, voices, say)
    if not questions:
        raise SetupError(f"no row of {options.benchmark} can be asked: {next(iter(not_asked.values()))}")
    clock.done("questions")
    answers: dict[str, dict[str, KeptRow]] = {}
    models: dict[str, dict[str, Any]] = {}
    for name, place in zip(names, options.models, strict=True):
        model = open_model(
            name, place, options.out, ears, voices, options.vocoder, options.endpoint, options.voice
        )
        models[name] = model.about()
        folder.begin_model(name, models[name])
        answers[name] = answer_benchmark(
            benchmark, model, questions, options.sampling, folder, ears().hear, say
        )
        del model  # a checkpoint's memory is free before the next is loaded
    write_candidates(benchmark, answers, questions, folder)
    clock.done("answers")
    judging = Judging()
    if options.judge is not None:
        replies = Replies(Store(str(options.out)), "verdicts")
        judge = AnswerJudge(options.judge, replies, options.judge_listens)
        judging = judge_all(judge, benchmark.rows, answers, folder, say)
    clock.done("judge")
    people = scores_of_people(options.out / RATINGS)
    outcomes = tuple(
        RowOutcome.of(name, row, kept, judging.verdicts.get((name, row.id)), people.get((row.id, name)))
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
        judging,
        ears().about(),
        clock.seconds,
    )
    facts = evaluation.as_json()
    content = facts | {"answers": [row_json(each) for each in outcomes]}
    folder.write(RESULTS, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
    for name in names:
        lineage.note(models[name], facts, name, options.out, say)
    return evaluation


class _Steps:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def done(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step] = round(now - self._last, 1)
        self._last = now
