"""A question and its answer, as models exchange them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from schemas.recording import Codes
from stages.stage import Samples


@dataclass(frozen=True)
class SpokenQuestion:
    audio: Path
    """A file of any format."""
    text: str | None
    """What is said in it, where that is written."""
    language: str
    """ISO 639-1"""


@dataclass(frozen=True)
class SpokenAnswer:
    """What a model answered: everything raw."""

    text: str
    """As the model wrote it."""
    samples: Samples | None
    """[n] at `rate`; None if the model said nothing."""
    rate: int = 0
    """Hz"""
    voices: tuple[Codes, ...] = ()
    """The codes of each span of speech, where the model tells them."""
    reason: str | None = None
    """Why it ended, such as `end` or `length`."""
    latency: dict[str, float | None] = field(default_factory=dict)
    """`first_text`, `first_sound` and `total`: seconds since the question; None for what wasn't measured."""
    id: str | None = None
    """By which a server knows the answer."""
    grammar: dict[str, int] | None = None
    """`steps` of the answer, and at how many of them the likeliest of all ids would have broken each rule of
    the layout; None where the model doesn't tell."""

    @property
    def empty(self) -> bool:
        return not self.text.strip() and (self.samples is None or not len(self.samples))


@dataclass(frozen=True)
class AnsweredQuestion:
    question: SpokenQuestion
    answer: SpokenAnswer


@dataclass(frozen=True)
class AnswerSampling:
    seed: int = 0
    temperature: float = 0.7
    max_tokens: int = 1024
    """Of an answer."""


class AnsweringModel(Protocol):
    name: str
    """Unique among the models of an evaluation."""

    def about(self) -> dict[str, Any]:
        """What identifies the model: its kind, its place and the hash of its weights where they are here."""

    def answer(
        self, history: Sequence[AnsweredQuestion], question: SpokenQuestion, sampling: AnswerSampling
    ) -> SpokenAnswer:
        """Raises DataError if the question can't be answered, SetupError if none can."""
