"""The conversation before a question: the messages of a prompt, and the file that stores earlier turns."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from schemas.arrow import Code
from schemas.errors import SetupError
from schemas.layout import chat_start, header, span, system_before, whole_groups
from schemas.recording import Codes
from schemas.text_files import lines
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, Ids, Vocabulary
from stages.stage import Config

HISTORY_TOKENS = 1024
"""Most tokens of earlier messages, as by default in recipes: models weren't trained on longer histories."""


@dataclass(frozen=True)
class PromptMessage:
    role: str
    """`system`, `human` or `assistant`."""
    parts: tuple[str | Codes, ...]
    """Texts and audio spans, in order."""

    def ids(self, vocabulary: Vocabulary) -> Ids:
        parts = [vocabulary.encode(p) if isinstance(p, str) else span(p, vocabulary) for p in self.parts]
        return np.concatenate([header(self.role, vocabulary), *parts, [vocabulary.eot]], dtype=np.int32)


def prompt(messages: Sequence[PromptMessage], vocabulary: Vocabulary) -> Ids:
    """The ids of a conversation that ends with a question, followed by the header of the answer.

    Earlier messages are dropped from the oldest on until the rest fits `HISTORY_TOKENS` and starts with a
    human's message. A system prompt at the beginning is always kept; the vocabulary may have a default one.
    """
    if (system := system_before(messages[0].role, vocabulary)) is not None:
        messages = [PromptMessage("system", (system,)), *messages]
    first = 1 if messages[0].role == "system" else 0
    ids = [message.ids(vocabulary) for message in messages]
    start, history_tokens = first, sum(map(len, ids[first:-1]))
    while start < len(messages) - 1 and (messages[start].role != "human" or history_tokens > HISTORY_TOKENS):
        history_tokens -= len(ids[start])
        start += 1
    parts = [chat_start(vocabulary), *ids[:first], *ids[start:], header("assistant", vocabulary)]
    return np.concatenate(parts, dtype=np.int32)


class _Codes(Config):
    linguistic: tuple[Annotated[int, Field(ge=0, lt=LINGUISTIC_CODES)], ...]
    semantic: tuple[Annotated[int, Field(ge=0, lt=SEMANTIC_CODES)], ...]

    @model_validator(mode="after")
    def _at_least_one_group(self) -> "_Codes":
        if not whole_groups(self.codes).linguistic:
            raise ValueError("fewer codes than one group of 2 linguistic and 3 semantic")
        return self

    @property
    def codes(self) -> Codes:
        return Codes(tuple(map(Code, self.linguistic)), tuple(map(Code, self.semantic)))


class PastTurn(Config):
    """What the user or the assistant said in an earlier turn."""

    text: str = ""
    voices: tuple[_Codes, ...] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> "PastTurn":
        if not self.text.strip() and not self.voices:
            raise ValueError("needs `text` or `voices`")
        return self

    @classmethod
    def of(cls, text: str, voices: Sequence[Codes]) -> "PastTurn":
        spans = [_Codes(linguistic=codes.linguistic, semantic=codes.semantic) for codes in voices]
        return cls(text=text, voices=tuple(spans))

    def as_message(self, role: str) -> PromptMessage:
        """As an earlier message of the prompt: its text, as in training, or its audio if it has no text."""
        text = self.text.strip()
        return PromptMessage(role, (text,) if text else tuple(span.codes for span in self.voices))


class _Exchange(Config):
    question: PastTurn
    answer: PastTurn

    def messages(self) -> tuple[PromptMessage, PromptMessage]:
        return self.question.as_message("human"), self.answer.as_message("assistant")


@dataclass
class History:
    """A conversation in a file with one JSON line per question and answer.

    A line is `{"question": {"text", "voices"}, "answer": {"text", "voices"}}`; each of `voices` is an audio
    span, `{"linguistic", "semantic"}`.
    """

    file: Path
    messages: list[PromptMessage] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> "History":
        """Empty if there is no file yet. Raises SetupError if it can't be read or written."""
        history = cls(file)
        if not file.parent.is_dir():
            raise SetupError(f"the folder of {file} doesn't exist, so the conversation can't be stored there")
        try:
            stored = lines(file.read_text(encoding="utf-8")) if file.exists() else []
        except (OSError, ValueError) as error:
            raise SetupError(f"{file} can't be read as a conversation: {error}") from None
        for number, line in enumerate(stored, 1):
            try:
                exchange = _Exchange.model_validate(json.loads(line))
            except ValidationError as error:
                raise SetupError(f"{file}, line {number} is not a valid turn: {_first(error)}") from None
            except ValueError as error:
                raise SetupError(f"{file}, line {number} is not valid JSON: {error}") from None
            history.messages += exchange.messages()
        return history

    def add(self, question: PastTurn, answer: PastTurn) -> None:
        exchange = _Exchange(question=question, answer=answer)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(exchange.model_dump(), ensure_ascii=False) + "\n")
        self.messages += exchange.messages()


def _first(error: ValidationError) -> str:
    first: dict[str, Any] = dict(error.errors()[0])
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
