"""Candidates of many questions, sampled together, with their audio if there is a vocoder."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.inference.answerer import tokenize_question
from pipeline.inference.candidate_rows import candidate_row, question_text
from pipeline.inference.dialogue import Dialogue
from pipeline.inference.tokenize_files import Tokenized
from pipeline.inference.wav import wav
from schemas.errors import DataError

if TYPE_CHECKING:
    from stages.train.batch_sampling import Question
    from stages.train.sampling import Answer, Sampling


class CandidateAudio(NamedTuple):
    """Where the audio of candidates is written."""

    folder: Path
    rows: Path
    """Folder of the rows, which name the files relative to it."""


class _Asked(NamedTuple):
    tokenized: Tokenized
    text: str
    language: str | None


def sample_candidates(
    dialogue: Dialogue,
    questions: Sequence[str],
    samplings: "Sequence[Sampling]",
    about: Mapping[str, Any],
    audio: CandidateAudio | None,
    refuse: Callable[[str, DataError], None],
) -> Iterator[dict[str, Any]]:
    """A row for each question, in order, with an answer for each sampling; `about` is copied into it.

    Questions that can't be used, or have too few answers, go to `refuse` with the reason instead.
    """
    asked: deque[_Asked] = deque()

    def prompts() -> "Iterator[Question]":
        for question in questions:
            try:
                tokenized = tokenize_question(dialogue.answerer, question)
                text, language = question_text(question)
                prompt = dialogue.answerer.question(dialogue.prompt(tokenized.codes), samplings)
            except DataError as error:
                refuse(question, error)
                continue
            asked.append(_Asked(tokenized, text, language))
            yield prompt

    for answers in dialogue.answerer.answers(prompts(), dialogue.form):
        one = asked.popleft()
        by_seed = {sampling.seed: answer for sampling, answer in zip(samplings, answers, strict=True)}
        try:
            row = candidate_row(
                one.tokenized, one.text, dialogue.system, by_seed, {"language": one.language, **about}
            )
        except DataError as error:
            refuse(one.tokenized.file, error)
            continue
        if audio:
            _speak(row, by_seed, dialogue, audio)
        yield row


def _speak(
    row: dict[str, Any], answers: "Mapping[int, Answer]", dialogue: Dialogue, audio: CandidateAudio
) -> None:
    """Write the audio of a row's answers, and name it in the row."""
    from stages.train.vocoder.shape import RATE

    assert dialogue.vocoder is not None
    question = Path(row["id"]).resolve()
    if question.is_relative_to(audio.rows):
        row["audio"] = question.relative_to(audio.rows).as_posix()
    by_id = {candidate["id"]: candidate for candidate in row["answers"]}
    for seed, answer in answers.items():
        candidate = by_id.get(f"seed-{seed}")
        if candidate is None or not answer.voices:
            continue
        file = audio.folder / f"{question.stem}-seed-{seed}.wav"
        file.write_bytes(wav(dialogue.vocoder.spoken(answer, seed), RATE))
        candidate["audio"] = file.relative_to(audio.rows).as_posix()
