"""Answers to prompts: sampled many at a time, spoken, heard back, and judged by the rules."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.alignment.recipe import AlignRecipe
from pipeline.evaluation.answers.answering import prepare_questions
from pipeline.evaluation.answers.benchmark import Benchmark
from pipeline.evaluation.answers.ears import SILENCE, Ears, Heard
from pipeline.evaluation.answers.exchange import SpokenAnswer, SpokenQuestion
from pipeline.evaluation.answers.kept import EvaluationFolder, write_whole
from pipeline.evaluation.answers.rules import AnswerTurn, judge_by_rules, score_of
from pipeline.evaluation.answers.voices import PackagedVoices
from pipeline.inference.answer_vocoder import open_answer_vocoder
from pipeline.inference.answerer import open_answerer
from pipeline.inference.candidates import CandidateAudio, sample_candidates
from pipeline.inference.dialogue import Dialogue
from schemas.benchmark import BenchmarkRow
from schemas.errors import DataError, SetupError
from schemas.text_files import lines

JUDGED = "judged.jsonl"
"""Of a round: a prompt per line, with its candidates and what the rules make of them."""


@dataclass(frozen=True)
class JudgedPrompt:
    candidates: dict[str, Any]
    """A row for `preferences.candidates`; its id is that of the prompt."""
    scores: dict[str, float]
    """Answer -> share of its checks that pass, 0 to 1."""
    word_errors: dict[str, float | None]
    """Answer -> errors over words of what is heard against what is written; None where nothing is said."""

    @property
    def best(self) -> str:
        """The answer with the highest score, the first of equal ones."""
        return max(self.scores, key=lambda answer: self.scores[answer])


def judged_prompts(
    recipe: AlignRecipe,
    prompts: Benchmark,
    model: Path,
    folder: Path,
    first_seed: int,
    say: Callable[[str], None],
) -> list[JudgedPrompt]:
    """The judged candidates of each prompt, in the order of the prompts. Those that the folder of the round
    has already are not sampled again. Prompts without two answers of words are left out, and told."""
    from stages.train.sampling import Sampling

    file = folder / JUDGED
    done = {each.candidates["id"]: each for each in _read(file)}
    for why in prompts.refused:
        say(f"left out: {why}")
    questions = EvaluationFolder(folder, remedy="Remove it to sample the round again")
    asked, refused = prepare_questions(prompts, questions, PackagedVoices(), say)
    for id, why in refused.items():
        say(f"not asked: {id}: {why}")
    if not asked:
        raise SetupError(f"no prompt can be asked: {next(iter(refused.values()))}")
    rows = {str(asked[row.id][0].audio): row for row in prompts.rows if row.id in asked.keys() - done.keys()}
    if not rows:
        return [done[row.id] for row in prompts.rows if row.id in done]
    for row in rows.values():
        _write_text(asked[row.id][0])
    answerer = open_answerer(model)
    vocoder = open_answer_vocoder(Path(recipe.vocoder) if recipe.vocoder else None)
    vocoder.check(answerer.models, answerer.tokenizer)
    settings = recipe.candidates
    samplings = [
        Sampling(settings.temperature, settings.top_p, first_seed + n, settings.max_tokens)
        for n in range(settings.number)
    ]
    dialogue = Dialogue(answerer, answerer.form, samplings[0], vocoder)
    audio = CandidateAudio(folder / "audio", folder)
    audio.folder.mkdir(exist_ok=True)
    ears = Ears()

    def refuse(question: str, error: DataError) -> None:
        say(f"left out: {rows[question].id}: {error.message}")

    about = {"checkpoint": str(model)}
    with file.open("a", encoding="utf-8") as out:
        for candidates in sample_candidates(dialogue, list(rows), samplings, about, audio, refuse):
            row = rows[candidates["id"]]
            each = _judged(candidates | {"id": row.id}, row, folder, ears)
            out.write(json.dumps(vars(each), ensure_ascii=False) + "\n")
            out.flush()
            done[row.id] = each
            say(f"{len(done)} of {len(asked)} prompts are answered and judged")
    return [done[row.id] for row in prompts.rows if row.id in done]


def _judged(candidates: dict[str, Any], row: BenchmarkRow, folder: Path, ears: Ears) -> JudgedPrompt:
    scores: dict[str, float] = {}
    word_errors: dict[str, float | None] = {}
    for answer in candidates["answers"]:
        heard = _heard(answer, folder, ears, row.parts(len(row.turns)))
        scores[answer["id"]] = score_of(judge_by_rules(row, [AnswerTurn(answer["text"], heard)])) or 0.0
        word_errors[answer["id"]] = heard.word_errors
    return JudgedPrompt(candidates, scores, word_errors)


def _heard(answer: dict[str, Any], folder: Path, ears: Ears, parts: int) -> Heard:
    if "audio" not in answer:
        return SILENCE
    samples, rate = EvaluationFolder(folder).samples(answer["audio"])
    return ears.hear(SpokenAnswer(answer["text"], samples, rate), parts)


def _write_text(question: SpokenQuestion) -> None:
    """Put the text of a question beside its audio, where sampling reads it."""
    if question.text:
        sidecar = {"text": question.text, "language": question.language}
        write_whole(Path(f"{question.audio}.json"), json.dumps(sidecar, ensure_ascii=False).encode())


def _read(file: Path) -> Iterator[JudgedPrompt]:
    """What a file holds; a last line that was not wholly written is removed."""
    if not file.exists():
        return
    content = file.read_bytes()  # may end within a character
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_whole(file, whole)
    for line in lines(whole.decode()):
        yield JudgedPrompt(**json.loads(line))
