"""What was said before a question: the messages of a prompt, and the file that keeps a conversation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from schemas.arrow import Code
from schemas.errors import SetupError
from schemas.layout import header, span, whole_groups
from schemas.recording import Codes
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, Ids, Vocabulary
from stages.stage import Config

HISTORY_TOKENS = 1024
"""Most tokens of earlier messages, as recipes have it by default: models have not learnt from longer ones."""


@dataclass(frozen=True)
class PromptMessage:
    role: str
    """`system`, `human` or `assistant`."""
    parts: tuple[str | Codes, ...]
    """Texts and voices, one behind another."""

    def ids(self, vocabulary: Vocabulary) -> Ids:
        parts = [vocabulary.encode(p) if isinstance(p, str) else span(p, vocabulary) for p in self.parts]
        return np.concatenate([header(self.role, vocabulary), *parts, [vocabulary.eot]], dtype=np.int32)


def prompt(messages: Sequence[PromptMessage], vocabulary: Vocabulary) -> Ids:
    """The ids of a conversation that ends with a question, and the header of the answer to it.

    Of what was said before the question only the last that fits `HISTORY_TOKENS` is laid out, from a human's
    message on. A system prompt at the beginning always stays.
    """
    first = 1 if messages[0].role == "system" else 0
    laid = [message.ids(vocabulary) for message in messages]
    begin, before = first, sum(map(len, laid[first:-1]))
    while begin < len(messages) - 1 and (messages[begin].role != "human" or before > HISTORY_TOKENS):
        before -= len(laid[begin])
        begin += 1
    return np.concatenate([*laid[:first], *laid[begin:], header("assistant", vocabulary)], dtype=np.int32)


class _Codes(Config):
    linguistic: tuple[Annotated[int, Field(ge=0, lt=LINGUISTIC_CODES)], ...]
    semantic: tuple[Annotated[int, Field(ge=0, lt=SEMANTIC_CODES)], ...]

    @model_validator(mode="after")
    def _some(self) -> "_Codes":
        if not whole_groups(self.codes).linguistic:
            raise ValueError("fewer codes than a group of 2 linguistic and 3 semantic")
        return self

    @property
    def codes(self) -> Codes:
        return Codes(tuple(map(Code, self.linguistic)), tuple(map(Code, self.semantic)))


class PastTurn(Config):
    """What one side said in its turn."""

    text: str = ""
    voices: tuple[_Codes, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> "PastTurn":
        if not self.text.strip() and not self.voices:
            raise ValueError("neither `text` nor `voices`")
        return self

    @classmethod
    def of(cls, text: str, voices: Sequence[Codes]) -> "PastTurn":
        said = [_Codes(linguistic=codes.linguistic, semantic=codes.semantic) for codes in voices]
        return cls(text=text, voices=tuple(said))

    def by(self, role: str) -> PromptMessage:
        """As an earlier message: its words, as in training; the voices of what nobody has written down."""
        words = self.text.strip()
        return PromptMessage(role, (words,) if words else tuple(voice.codes for voice in self.voices))


class _Turn(Config):
    question: PastTurn
    answer: PastTurn

    def messages(self) -> tuple[PromptMessage, PromptMessage]:
        return self.question.by("human"), self.answer.by("assistant")


@dataclass
class History:
    """A conversation in a file, a JSON line for each question with its answer:
    `{"question": {"text", "voices"}, "answer": {"text", "voices"}}`, each voice `{"linguistic", "semantic"}`.
    """

    file: Path
    messages: list[PromptMessage] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> "History":
        """Empty where there is no file yet. Raises SetupError where one can't be read or written."""
        history = cls(file)
        if not file.parent.is_dir():
            raise SetupError(f"{file} is in no folder that there is: a conversation can't be kept there")
        try:
            lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        except (OSError, ValueError) as error:
            raise SetupError(f"{file} is no conversation that can be read: {error}") from None
        for number, line in enumerate(lines, 1):
            try:
                turn = _Turn.model_validate(json.loads(line))
            except ValidationError as error:
                raise SetupError(f"{file}, line {number} is no turn: {_first(error)}") from None
            except ValueError as error:
                raise SetupError(f"{file}, line {number} is no JSON: {error}") from None
            history.messages += turn.messages()
        return history

    def add(self, question: PastTurn, answer: PastTurn) -> None:
        turn = _Turn(question=question, answer=answer)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(turn.model_dump(), ensure_ascii=False) + "\n")
        self.messages += turn.messages()


def _first(error: ValidationError) -> str:
    found: dict[str, Any] = dict(error.errors()[0])
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
