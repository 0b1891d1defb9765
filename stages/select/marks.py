"""Turns that a person has marked as good, bad, or of a wrong speaker.

A mark names a stretch of a recording, not a key: keys move with the number of a turn, and a turn that starts
a little earlier in the next build is still the one that was marked.
"""

import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from schemas.recording import Problem
from schemas.turn import AnnotatedTurn
from stages.stage import Config

SAME = 0.5
"""Least share of the time that a mark and a turn cover together which both of them cover."""

_REASONS = {
    "bad": ("marked_bad", "somebody who listened marked it as bad"),
    "wrong_speaker": ("marked_wrong_speaker", "somebody who listened marked it as of another speaker"),
}
"""Mark -> code and message of the reason to set a turn aside."""


class TurnMark(Config):
    """What a person thinks of a turn."""

    recording: str = Field(description="id of the recording")
    track: int = Field(0, ge=0, description="track of the recording")
    start: float = Field(ge=0, description="start of the turn in seconds")
    end: float = Field(description="end of the turn in seconds")
    mark: Literal["good", "bad", "wrong_speaker"] = Field(description="what was marked")

    @model_validator(mode="after")
    def _has_length(self) -> "TurnMark":
        if self.end <= self.start:
            raise ValueError("`end` must be after `start`")
        return self

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


def mark_of(turn: AnnotatedTurn, of_recording: Iterable[TurnMark]) -> TurnMark | None:
    """The mark that a turn has, of the marks of its recording."""
    best = max(of_recording, key=lambda mark: mark.shared(turn), default=None)
    return best if best is not None and best.shared(turn) >= SAME else None


def parse_marks(lines: Iterable[str]) -> tuple[TurnMark, ...]:
    """The marks in lines of JSON, sorted: of a turn the last, unless that removes it (`mark` null).

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
            removes = fields.get("mark", "") is None
            mark = TurnMark.model_validate(fields | ({"mark": "good"} if removes else {}))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"line {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if removes:
            found.pop(mark.place, None)
        else:
            found[mark.place] = mark
    return tuple(found[place] for place in sorted(found))
