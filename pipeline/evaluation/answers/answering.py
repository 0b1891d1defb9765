"""A benchmark answered by a model: row by row, turn by turn, with its own answers as the history."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.evaluation.answers.benchmark import Benchmark
from pipeline.evaluation.answers.ears import Heard
from pipeline.evaluation.answers.exchange import (
    AnsweredQuestion,
    AnsweringModel,
    AnswerSampling,
    SpokenAnswer,
    SpokenQuestion,
)
from pipeline.evaluation.answers.kept import CANDIDATES, EvaluationFolder, KeptRow
from pipeline.evaluation.answers.voices import PackagedVoices
from schemas.benchmark import BenchmarkRow
from schemas.errors import DataError
from schemas.hashing import hash_integer
from stages.stage import problem_of


def prepare_questions(
    benchmark: Benchmark,
    folder: EvaluationFolder,
    voices: PackagedVoices,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, tuple[SpokenQuestion, ...]], dict[str, str]]:
    """The questions of each row as recordings: texts are spoken. Returns them by row, and for rows that can't
    be asked, why."""
    asked: dict[str, tuple[SpokenQuestion, ...]] = {}
    refused: dict[str, str] = {}
    for row in benchmark.rows:
        try:
            asked[row.id] = tuple(_questions(row, benchmark, folder, voices))
        except DataError as error:
            refused[row.id] = error.message
        progress(f"{len(asked)} of {len(benchmark.rows)} rows can be asked")
    return asked, refused


def _questions(
    row: BenchmarkRow, benchmark: Benchmark, folder: EvaluationFolder, voices: PackagedVoices
) -> Iterator[SpokenQuestion]:
    for number, turn in enumerate(row.turns, 1):
        try:
            data = benchmark.audio(turn.audio) if turn.audio else voices.question(turn.text or "", row.id)
        except (FileNotFoundError, KeyError) as error:
            raise DataError(
                "missing_audio", f"`turns.{number - 1}.audio`: no such file: {turn.audio}"
            ) from error
        ending = PurePosixPath(turn.audio or "").suffix or ".wav"
        yield SpokenQuestion(folder.question(row.id, number, data, ending), turn.text, row.spoken_language)


def answer_benchmark(
    benchmark: Benchmark,
    model: AnsweringModel,
    questions: dict[str, tuple[SpokenQuestion, ...]],
    sampling: AnswerSampling,
    folder: EvaluationFolder,
    hear: Callable[[SpokenAnswer, int], Heard],
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, KeptRow]:
    """Answer every row that isn't answered in the folder yet, hear the answers and keep both.

    Each row draws with a seed of its own, of the run's seed and its id. A row that can't be answered is kept
    as failed, with the reason; the next run asks it again.
    """
    folder.forget_failures(model.name)
    kept: dict[str, KeptRow] = {}
    for row in benchmark.rows:
        if row.id not in questions:
            continue
        if folder.answers(model.name, row.id) is None:
            own = replace(sampling, seed=hash_integer(f"{sampling.seed} {row.id}", 32))
            try:
                history = answer_row(model, questions[row.id], own)
                answered = enumerate((each.answer for each in history), 1)
                heard = [(answer, hear(answer, row.parts(turn))) for turn, answer in answered]
                folder.keep(model.name, row.id, heard)
            except (DataError, OSError) as error:
                problem = problem_of(error)
                folder.keep_failure(model.name, row.id, problem.code, problem.message)
        answers = folder.answers(model.name, row.id)
        assert answers is not None
        kept[row.id] = answers
        progress(f"{model.name}: {len(kept)} of {len(questions)} rows answered")
    return kept


def answer_row(
    model: AnsweringModel, questions: tuple[SpokenQuestion, ...], sampling: AnswerSampling
) -> list[AnsweredQuestion]:
    """The conversation of a row. Raises the errors of the model."""
    history: list[AnsweredQuestion] = []
    for question in questions:
        history.append(AnsweredQuestion(question, model.answer(history, question, sampling)))
    return history


def write_candidates(
    benchmark: Benchmark,
    answers: dict[str, dict[str, KeptRow]],
    questions: dict[str, tuple[SpokenQuestion, ...]],
    folder: EvaluationFolder,
) -> None:
    """The last answers of all models (model -> row -> answers), as people rate them: `id` of an answer is the
    model, and audio is relative to the file."""
    lines = []
    for row in benchmark.rows:
        own = {model: rows[row.id] for model, rows in answers.items() if row.id in rows}
        given = {model: kept for model, kept in own.items() if kept.turns and not kept.turns[-1].seen.empty}
        if not given:
            continue
        asked = [turn.text or "(a recording)" for turn in row.turns]
        line = {
            "id": row.id,
            "dimension": row.dimension,
            "messages": [{"role": "user", "content": "\n".join(asked)}],
            "audio": _relative(questions[row.id][-1].audio, folder.path),
            "answers": [
                {
                    "id": model,
                    "text": kept.turns[-1].text.strip() or kept.turns[-1].heard.text,
                    "audio": kept.turns[-1].audio,
                }
                for model, kept in given.items()
            ],
        }
        lines.append(json.dumps(line, ensure_ascii=False))
    folder.write(CANDIDATES, "".join(f"{line}\n" for line in lines).encode())


def _relative(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder))
