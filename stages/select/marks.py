"""Turns that a person has marked as good, bad, or of a wrong speaker, or has corrected.

A mark names a stretch of a recording, not a key: keys move with the number of a turn, and a turn that starts
a little earlier in the next build is still the one that was marked.
"""

import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from schemas.recording import Problem
from schemas.turn import AnnotatedTurn
from stages.stage import Config

SAME = 0.5
"""Least share of the time that a mark and a turn cover together which both of them cover."""

ALIKE = 0.25
"""Seconds by which the ends of a corrected turn may move: its text must still be all that is said in it."""

_REASONS = {
    "bad": ("marked_bad", "somebody who listened marked it as bad"),
    "wrong_speaker": ("marked_wrong_speaker", "somebody who listened marked it as of another speaker"),
}
"""Mark -> code and message of the reason to set a turn aside."""


class TurnCorrection(Config):
    """What a person heard in a turn; None where it was right."""

    text: str | None = Field(None, description="what is said")
    speaker: str | None = Field(None, max_length=100, description="name of the speaker in the recording")
    language: str | None = Field(None, pattern="^[a-z]{2,3}$", description="ISO 639-1 code of the language")

    @field_validator("text", "speaker")
    @classmethod
    def _has_words(cls, value: str | None) -> str | None:
        words = value and " ".join(value.split())
        if words is not None and not any(letter.isalnum() for letter in words):
            raise ValueError("it is empty: mark a turn in which nothing is said as bad")
        return words

    @model_serializer(mode="wrap")
    def _what_was_wrong(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class TurnMark(Config):
    """What a person thinks of a turn."""

    recording: str = Field(description="id of the recording")
    track: int = Field(0, ge=0, description="track of the recording")
    start: float = Field(ge=0, description="start of the turn in seconds")
    end: float = Field(description="end of the turn in seconds")
    mark: Literal["good", "bad", "wrong_speaker"] | None = Field(None, description="what was marked")
    corrected: TurnCorrection | None = Field(None, description="what the person heard instead")

    @model_validator(mode="after")
    def _has_length(self) -> "TurnMark":
        if self.end <= self.start:
            raise ValueError("`end` must be after `start`")
        return self

    @model_serializer(mode="wrap")
    def _what_is_known(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What isn't used is left out, so that it doesn't change the plans of older recipes.
        return {name: value for name, value in serialize(self).items() if value is not None}

    @property
    def place(self) -> tuple[str, int, float, float]:
        """What tells it from marks of other turns."""
        return self.recording, self.track, self.start, self.end

    def shared(self, turn: AnnotatedTurn) -> float:
        """The share of the time of both that both cover, 0 to 1; 0 on another track."""
        start, end = turn.turn.start, turn.turn.end
        both = min(self.end, end) - max(self.start, start)
        return (
            max(0.0, both / (max(self.end, end) - min(self.start, start)))
            if self.track == turn.turn.track
            else 0.0
        )

    def problem(self, turn: AnnotatedTurn) -> Problem | None:
        """The reason to set a turn with this mark aside; None for a good one."""
        return Problem(*_REASONS[self.mark], turn.index) if self.mark in _REASONS else None

    def correction(self, turn: AnnotatedTurn) -> TurnCorrection | None:
        """What it corrects in a turn; None where the turn's ends are others than those that were heard."""
        moved = max(abs(self.start - turn.turn.start), abs(self.end - turn.turn.end))
        return self.corrected if self.track == turn.turn.track and moved <= ALIKE else None


def mark_of(turn: AnnotatedTurn, of_recording: Iterable[TurnMark]) -> TurnMark | None:
    """The mark that a turn has, of the marks of its recording."""
    best = max(of_recording, key=lambda mark: mark.shared(turn), default=None)
    return best if best is not None and best.shared(turn) >= SAME else None


def parse_marks(lines: Iterable[str]) -> tuple[TurnMark, ...]:
    """The marks in lines of JSON, sorted: of a turn the last, unless that removes it (no mark or correction).

    Other fields of a line are for people. Raises ValueError that names the line.
    """
    found: dict[tuple[str, int, float, float], TurnMark] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("a line must be an object")
            fields = {name: row[name] for name in TurnMark.model_fields if name in row}
            if not {"mark", "corrected"} & fields.keys():
                raise ValueError("mark: a line has a `mark`, or what is `corrected`")
            mark = TurnMark.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"line {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if mark.mark is None and mark.corrected is None:
            found.pop(mark.place, None)
        else:
            found[mark.place] = mark
    return tuple(found[place] for place in sorted(found))
