"""Prompts with the answers that were sampled for them.

`{"id": "p1", "messages": [.., {"role": "user", "content": ".."}], "audio": "q/p1.wav",
  "answers": [{"id": "a1", "text": "..", "codes": {"linguistic": [..], "semantic": [..]}}, ..]}`

Speech is named by `codes`, or by `audio`: a recording of the dataset, or a file beside the rows, whose codes
annotate makes. The question is text where it has neither.
"""

from collections.abc import Callable
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
"""The codes of a recording of the dataset. Raises DataError."""


@dataclass(frozen=True)
class Candidate:
    id: str
    text: str
    codes: Codes | None
    audio: str | None
    """The recording that the codes are of."""


@dataclass(frozen=True)
class PreferencePrompt:
    """A prompt with its candidates, in the order of their ids."""

    id: str
    chat: Chat
    """Ends with the question."""
    codes: Codes | None
    """Of the question."""
    audio: str | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Choice:
    """Two candidates of a prompt, one better than the other."""

    asked: PreferencePrompt
    chosen: Candidate
    rejected: Candidate
    provenance: dict[str, Any]
    """`source`, and what speaks for the choice."""


def read_candidates(row: Any, where: str, codes_of: CodesOf) -> PreferencePrompt:
    """A row. Raises DataError `bad_candidates`, `bad_chat`, or what `codes_of` raises."""
    chat = parse(row, where)
    if chat.messages[-1].role != "human":
        raise DataError("bad_candidates", "the last of `messages` is not the human's")
    answers = row.get("answers")
    if not isinstance(answers, list) or len(answers) < 2:
        raise DataError("bad_candidates", "`answers` is not a list of two or more")
    read = sorted((_candidate(answer, codes_of) for answer in answers), key=lambda answer: answer.id)
    if len({answer.id for answer in read}) < len(read):
        raise DataError("bad_candidates", "two answers have one id")
    return PreferencePrompt(_id(row, "the prompt"), chat, *_speech(row, codes_of), tuple(read))


def _candidate(answer: Any, codes_of: CodesOf) -> Candidate:
    if not isinstance(answer, dict):
        raise DataError("bad_candidates", "an answer is no object")
    text = answer.get("text")
    if not isinstance(text, str) or not text.strip():
        raise DataError("bad_candidates", "an answer has no `text`")
    return Candidate(_id(answer, "an answer"), text.strip(), *_speech(answer, codes_of))


def _id(row: dict[str, Any], what: str) -> str:
    if not isinstance(row.get("id"), (str, int)) or isinstance(row["id"], bool):
        raise DataError("bad_candidates", f"{what} has no `id`")
    return str(row["id"])


def _speech(row: dict[str, Any], codes_of: CodesOf) -> tuple[Codes | None, str | None]:
    if row.get("codes") is not None:
        return _codes(row["codes"]), None
    if row.get("audio") is None:
        return None, None
    if not isinstance(row["audio"], str):
        raise DataError("bad_candidates", "`audio` is not the name of a recording")
    return codes_of(row["audio"]), row["audio"]


def _codes(given: Any) -> Codes:
    sides = []
    for name, size in (("linguistic", LINGUISTIC_CODES), ("semantic", SEMANTIC_CODES)):
        values = given.get(name) if isinstance(given, dict) else None
        if not isinstance(values, list) or not all(type(v) is int and 0 <= v < size for v in values):
            raise DataError("bad_candidates", f"`codes.{name}` is not a list of numbers from 0 to {size - 1}")
        sides.append(tuple(map(Code, np.array(values, int).tolist())))
    codes = whole_groups(Codes(*sides))
    if not codes.linguistic:
        raise DataError("bad_candidates", "`codes` hold less than a group of 2 linguistic and 3 semantic")
    return codes
