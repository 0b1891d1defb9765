"""A question of the closed world and its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.synthesize.talk.draws import Draws

OPENINGS = ("Okay, ", "Hey, ", "Now, ", "So, ", "All right, ")
PLAIN_SHARE = 0.6
"""Share of questions without an opening."""


@dataclass(frozen=True)
class Exchange:
    """What a person says, and what the assistant answers."""

    family: str
    unit: str
    """What the question is about, such as `sum 3 4`. All questions of a unit are on one side of the split."""
    question: str
    answer: str
    right: tuple[str, ...]
    """Every wording of the answer that is right, with `answer` among them."""
    core: str
    """The question without its opening."""
    style: str | None = None
    """The style of `synthesize.styles` in which the answer is to be spoken."""
    number: int | None = None
    """The number that a later "add two to that" refers to."""
    remembered: tuple[str, str] | None = None
    """What the person told about themselves, such as (`favorite color`, `green`)."""


def exchange(
    draws: Draws,
    family: str,
    questions: Sequence[str],
    answers: Sequence[str],
    slots: dict[str, str] | None = None,
    unit: str | None = None,
    openings: bool = True,
    **more: Any,
) -> Exchange:
    """An exchange in wordings that are drawn from `questions` and `answers`, whose `{slots}` are filled in.

    Without a `unit` the question's wording is the unit: of a fact that can't be worked out, wordings are held
    out, not the fact itself. With `openings` some questions begin with a word such as "Okay".
    """
    slots = slots or {}
    question = capital(draws.one(questions).format(**slots))
    right = tuple(capital(answer.format(**slots)) for answer in answers)
    unit = unit or f"wording {question}"
    asked = opened(draws, question) if openings else question
    return Exchange(family, unit, asked, draws.one(right), right, question, **more)


def opened(draws: Draws, question: str) -> str:
    """The question, with an opening or without."""
    if draws.integer(1, 100) <= 100 * PLAIN_SHARE:
        return question
    kept = question.startswith(("I ", "I'"))
    return draws.one(OPENINGS) + (question if kept else question[0].lower() + question[1:])


def capital(text: str) -> str:
    return text[0].upper() + text[1:]
