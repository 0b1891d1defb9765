"""Sampled answers as rows for the preferences stage (`stages.preferences.candidates`)."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.inference.question_recogniser import QuestionRecogniser
from pipeline.inference.tokenize_files import Tokenized
from schemas.errors import DataError
from schemas.recording import Codes

if TYPE_CHECKING:
    from stages.train.sampling import Answer


def candidate_row(
    question: Tokenized,
    text: str,
    system: str | None,
    answers: "Mapping[int, Answer]",
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """A prompt with its answers by seed, in the format of `preferences.candidates` of a recipe.

    `text` is the question as a judge reads it; `about` is copied into the records. Raises DataError
    `few_answers` if fewer than two answers contain words.
    """
    messages = [] if system is None else [{"role": "system", "content": system}]
    candidates = [
        {
            "id": f"seed-{seed}",
            "text": answer.text,
            **({"codes": _as_json(_concatenated(answer.voices))} if answer.voices else {}),
            "reason": answer.reason,
        }
        for seed, answer in answers.items()
        if answer.text.strip()
    ]
    if len(candidates) < 2:
        raise DataError("few_answers", "fewer than two answers contain words, so there is nothing to compare")
    return {
        "id": question.file,
        "messages": [*messages, {"role": "user", "content": text}],
        "codes": _as_json(question.codes),
        "answers": candidates,
        **about,
    }


def question_text(question: str) -> tuple[str, str | None]:
    """Text and language of a question: from its sidecar, or else transcribed.

    Raises DataError `no_words` if no words are recognised, `bad_sidecar` if the sidecar isn't valid JSON.
    """
    if (written := written_text(question)) is not None:
        return written
    text, language = _recogniser().words(Path(question))
    if not text:
        raise DataError(
            "no_words", 'no words were recognised: put the text beside it, as {"text": ".."} in a .json'
        )
    return text, language


def written_text(question: str) -> tuple[str, str | None] | None:
    """`text` and `language` of a question's sidecar; None without a sidecar or without text in it."""
    sidecar = next((file for file in _sidecars(question) if file.exists()), None)
    if sidecar is not None:
        try:
            content = json.loads(sidecar.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError("bad_sidecar", f"{sidecar.name} is not valid JSON: {error}") from None
        if isinstance(content, dict) and isinstance(content.get("text"), str) and content["text"].strip():
            return content["text"].strip(), content.get("language")
    return None


def _sidecars(question: str) -> tuple[Path, Path]:
    return Path(f"{question}.json"), Path(question).with_suffix(".json")


@cache
def _recogniser() -> QuestionRecogniser:
    """Loaded when the first question without written text arrives."""
    return QuestionRecogniser()


def _concatenated(spans: Sequence[Codes]) -> Codes:
    return Codes(
        tuple(code for span in spans for code in span.linguistic),
        tuple(code for span in spans for code in span.semantic),
    )


def _as_json(codes: Codes) -> dict[str, Any]:
    return {"linguistic": list(codes.linguistic), "semantic": list(codes.semantic)}
