"""Sampled answers as rows that the preference stage reads (`stages.preferences.candidates`)."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.inference.tokenize_files import Tokenized
from pipeline.models import resolve
from schemas.errors import DataError
from schemas.recording import Codes
from stages.decode import DecodeConfig
from stages.decode.whole import read_whole
from stages.stage import SAMPLE_RATE
from stages.tokenize.resample import to_16k

if TYPE_CHECKING:
    from stages.train.sampling import Answer
    from stages.transcribe.recogniser import Recogniser

LISTENER = "package:whisper-base"
"""Tells what is asked where nobody has written it down."""
_WINDOW = 30 * SAMPLE_RATE


def row_of(
    question: Tokenized,
    text: str,
    system: str | None,
    answers: "Mapping[int, Answer]",
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """A prompt with its answers by seed, as `preferences.candidates` of a recipe reads it.

    `text` is what is asked, which a judge reads; `about` travels into the records. Raises DataError where
    fewer than two answers have words.
    """
    messages = [] if system is None else [{"role": "system", "content": system}]
    told = [
        {
            "id": f"seed-{seed}",
            "text": answer.text,
            **({"codes": _as_json(_joined(answer.voices))} if answer.voices else {}),
            "reason": answer.reason,
        }
        for seed, answer in answers.items()
        if answer.text.strip()
    ]
    if len(told) < 2:
        raise DataError("few_answers", "fewer than two answers have words: there is nothing to compare")
    return {
        "id": question.file,
        "messages": [*messages, {"role": "user", "content": text}],
        "codes": _as_json(question.codes),
        "answers": told,
        **about,
    }


def words_of(question: str) -> tuple[str, str | None]:
    """What is said in a question, and its language: from its sidecar, else by listening.

    Raises DataError where nothing is heard."""
    if (known := written(question)) is not None:
        return known
    text, language = _heard(question)
    if not text:
        raise DataError("no_words", 'no words are heard: write them beside it, as {"text": ".."} in a .json')
    return text, language


def written(question: str) -> tuple[str, str | None] | None:
    """What the `text` and `language` of a question's sidecar say; None without one."""
    sidecar = next((file for file in _sidecars(question) if file.exists()), None)
    if sidecar is not None:
        try:
            told = json.loads(sidecar.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError("bad_sidecar", f"{sidecar.name} is no JSON: {error}") from None
        if isinstance(told, dict) and isinstance(told.get("text"), str) and told["text"].strip():
            return told["text"].strip(), told.get("language")
    return None


def _sidecars(question: str) -> tuple[Path, Path]:
    return Path(f"{question}.json"), Path(question).with_suffix(".json")


def _heard(question: str) -> tuple[str, str]:
    recogniser = _listener()
    sound = to_16k(*read_whole(Path(question), DecodeConfig()))
    chances = recogniser.language_probabilities(sound[:_WINDOW], 30)
    language = max(chances, key=lambda name: chances[name])
    windows = [sound[at : at + _WINDOW] for at in range(0, len(sound), _WINDOW)]
    return "".join(heard.text for w in windows for heard in recogniser.recognise([w], language)).strip(), language


@cache
def _listener() -> "Recogniser":
    """Loaded for the first question that nobody has written down."""
    from stages.transcribe.recogniser import Recogniser

    return Recogniser(resolve(LISTENER).path, "cpu", "int8", beam=5, threads=1)


def _joined(voices: Sequence[Codes]) -> Codes:
    return Codes(
        tuple(code for voice in voices for code in voice.linguistic),
        tuple(code for voice in voices for code in voice.semantic),
    )


def _as_json(codes: Codes) -> dict[str, Any]:
    return {"linguistic": list(codes.linguistic), "semantic": list(codes.semantic)}
