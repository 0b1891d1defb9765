"""Prompts and the answers that were sampled for them. One row:

`{"id": "p1", "messages": [.., {"role": "user", "content": ".."}], "audio": "q/p1.wav",
  "answers": [{"id": "a1", "text": "..", "codes": {"linguistic": [..], "semantic": [..]}}, ..]}`

Speech is given as `codes`, or as `audio`: the name of a recording of the dataset, or of a file next to the
rows, which the annotate stage encodes. A question with neither of the two is text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.arrow import Code
from schemas.chat import Chat, parse
from schemas.errors import DataError
from schemas.layout import whole_groups
from schemas.recording import Codes
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES

CodesOf = Callable[[str], Codes]
"""Returns the codes of a recording of the dataset. Raises DataError."""


@dataclass(frozen=True)
class Candidate:
    id: str
    text: str
    codes: Codes | None
    audio: str | None
    """Name of the recording that the codes were made from."""


@dataclass(frozen=True)
class PreferencePrompt:
    """A prompt with its candidates, sorted by id."""

    id: str
    chat: Chat
    """Ends with the question."""
    codes: Codes | None
    """The codes of the question."""
    audio: str | None
    """Name of the recording that the codes were made from."""
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Choice:
    """Two candidates of a prompt, the first better than the second."""

    prompt: PreferencePrompt
    chosen: Candidate
    rejected: Candidate
    provenance: dict[str, Any]
    """The `source` of the choice and its evidence, such as scores."""


def read_candidates(row: Any, where: str, codes_of: CodesOf) -> PreferencePrompt:
    """Parse a row; `where` is its file and line.

    Raises DataError `bad_candidates` or `bad_chat`, and the errors of `codes_of`.
    """
    chat = read_question(row, where)
    answers = row.get("answers")
    if not isinstance(answers, list) or len(answers) < 2:
        raise DataError("bad_candidates", "`answers` is not a list of two or more")
    candidates = sorted((_candidate(answer, codes_of) for answer in answers), key=lambda answer: answer.id)
    check_ids([candidate.id for candidate in candidates])
    return PreferencePrompt(read_id(row, "the prompt"), chat, *_speech(row, codes_of), tuple(candidates))


def read_question(row: Any, where: str) -> Chat:
    """The conversation of a row, which ends with the question. Raises DataError."""
    chat = parse(row, where)
    if chat.messages[-1].role != "human":
        raise DataError("bad_candidates", "the last of `messages` is not the human's")
    return chat


def read_id(row: dict[str, Any], owner: str) -> str:
    """The `id` of a prompt or an answer, a text or a number. Raises DataError that names the owner."""
    if not isinstance(row.get("id"), (str, int)) or isinstance(row["id"], bool):
        raise DataError("bad_candidates", f"{owner} has no `id`")
    return str(row["id"])


def check_ids(ids: Sequence[str]) -> None:
    """Raises DataError if two answers of a prompt have one id."""
    if len(set(ids)) < len(ids):
        raise DataError("bad_candidates", "two answers have one id")


def _candidate(answer: Any, codes_of: CodesOf) -> Candidate:
    if not isinstance(answer, dict):
        raise DataError("bad_candidates", "an answer is no object")
    text = answer.get("text")
    if not isinstance(text, str) or not text.strip():
        raise DataError("bad_candidates", "an answer has no `text`")
    return Candidate(read_id(answer, "an answer"), text.strip(), *_speech(answer, codes_of))


def _speech(row: dict[str, Any], codes_of: CodesOf) -> tuple[Codes | None, str | None]:
    if row.get("codes") is not None:
        return _codes(row["codes"]), None
    if row.get("audio") is None:
        return None, None
    if not isinstance(row["audio"], str):
        raise DataError("bad_candidates", "`audio` is not the name of a recording")
    return codes_of(row["audio"]), row["audio"]


def _codes(value: Any) -> Codes:
    sides = []
    for name, size in (("linguistic", LINGUISTIC_CODES), ("semantic", SEMANTIC_CODES)):
        values = value.get(name) if isinstance(value, dict) else None
        if not isinstance(values, list) or not all(type(v) is int and 0 <= v < size for v in values):
            raise DataError("bad_candidates", f"`codes.{name}` is not a list of numbers from 0 to {size - 1}")
        sides.append(tuple(map(Code, np.array(values, int).tolist())))
    codes = whole_groups(Codes(*sides))
    if not codes.linguistic:
        raise DataError("bad_candidates", "`codes` hold less than a group of 2 linguistic and 3 semantic")
    return codes
