"""Rows of a benchmark of spoken answers: questions, turn by turn, and what a right answer is.

`{"id": "p1", "dimension": "logical_reasoning", "turns": [{"text": "What is two plus three?"}],
  "checks": [{"kind": "number", "value": 5}]}`
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import DataError
from schemas.script import UNSPACED_LETTER
from schemas.style import SCALES

DIMENSIONS = (
    "voice_instruction_following",
    "voice_understanding",
    "logical_reasoning",
    "role_playing",
    "creativity",
    "singing",
    "language_ability",
    "speech_emotion_control",
    "gaming",
)
"""Those of StepEval-Audio-360; a benchmark may have others."""

LABELS = tuple(label for scale in SCALES.values() for label in scale if label != "normal")


class _RowPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _AboutTurn(_RowPart):
    turn: int | None = Field(None, ge=1)
    """The turn whose answer is checked, from 1; None: the last."""


class Contains(_AboutTurn):
    """The answer has at least one of `any`, each of `all`, and nothing of `none`: words or phrases."""

    kind: Literal["contains"]
    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> "Contains":
        if not (self.any or self.all or self.none):
            raise ValueError("needs `any`, `all` or `none`")
        return self


class InOrder(_AboutTurn):
    """The words or phrases come one after another, with anything between them."""

    kind: Literal["in_order"]
    words: tuple[str, ...] = Field(min_length=2)


class Number(_AboutTurn):
    """The number is said, in digits or in words."""

    kind: Literal["number"]
    value: int = Field(ge=0)


class BeginsWith(_AboutTurn):
    """The answer begins with one of these words or letters."""

    kind: Literal["begins_with"]
    any: tuple[str, ...] = Field(min_length=1)


class InLanguage(_AboutTurn):
    """The answer is in this language (ISO 639-1)."""

    kind: Literal["language"]
    language: str = Field(min_length=2, max_length=3)


class Length(_AboutTurn):
    """The answer has this number of words; characters in scripts without spaces."""

    kind: Literal["length"]
    at_least: int = Field(1, ge=1)
    at_most: int | None = Field(None, ge=1)


class Says(_AboutTurn):
    """The answer is this text, or that of an `earlier` answer again, up to a share of wrong words."""

    kind: Literal["says"]
    text: str | None = None
    earlier: int | None = Field(None, ge=1)
    errors_max: float = Field(0.25, ge=0, le=1)

    @model_validator(mode="after")
    def _one_of_two(self) -> "Says":
        if (self.text is None) == (self.earlier is None):
            raise ValueError("needs either `text` or `earlier`")
        return self


class OneOf(_AboutTurn):
    """The answer is one of these wordings, and nothing else. Words that add nothing to a short English answer
    and words that sound the same don't matter."""

    kind: Literal["one_of"]
    any: tuple[str, ...] = Field(min_length=1)


class Differs(_AboutTurn):
    """The answer has other words than an `earlier` one: over half of them."""

    kind: Literal["differs"]
    earlier: int = Field(ge=1)


class Spells(_AboutTurn):
    """The letters of a word are said one by one."""

    kind: Literal["spells"]
    word: str = Field(min_length=2)


class VoiceObeys(_AboutTurn):
    """The voice is slower, faster, lower, higher, flatter, livelier, softer or louder than in an earlier
    answer, by measure."""

    kind: Literal["voice"]
    label: str
    earlier: int | None = Field(None, ge=1)
    """None: the turn before."""

    @model_validator(mode="after")
    def _known(self) -> "VoiceObeys":
        if self.label not in LABELS:
            raise ValueError(f"`label` is {self.label!r}, not one of {', '.join(LABELS)}")
        return self


class VoiceTurns(_AboutTurn):
    """Within the answer the voice becomes slower, faster, lower, higher, flatter, livelier, softer or louder,
    part by part, by measure. The parts have equal shares of its letters."""

    kind: Literal["voice_turns"]
    changes: tuple[Literal["slow", "fast", "low", "high", "flat", "lively", "soft", "loud"], ...] = Field(
        min_length=1, max_length=4
    )
    """What each part but the first is in comparison with the one before."""

    @property
    def parts(self) -> int:
        return len(self.changes) + 1


class SoundsLike(_AboutTurn):
    """The voice has this emotion. Counts only where a recogniser of emotions is named that knows it."""

    kind: Literal["emotion"]
    label: Literal["angry", "happy", "sad", "neutral", "fearful", "disgusted", "surprised"]


Check = Annotated[
    Contains
    | InOrder
    | Number
    | BeginsWith
    | InLanguage
    | Length
    | Says
    | OneOf
    | Differs
    | Spells
    | VoiceObeys
    | VoiceTurns
    | SoundsLike,
    Field(discriminator="kind"),
]


class BenchmarkTurn(_RowPart):
    """A question: a recording, or a text that is to be spoken."""

    audio: str | None = None
    """A file, relative to that of the row."""
    text: str | None = None
    """What is said; with `audio`, for the judge only."""
    reference: str | None = None
    """A right answer."""

    @model_validator(mode="after")
    def _asked(self) -> "BenchmarkTurn":
        if not self.audio and not (self.text or "").strip():
            raise ValueError("needs `audio` or `text`")
        return self


class BenchmarkRow(_RowPart):
    id: str = Field(min_length=1)
    dimension: str = Field(min_length=1)
    turns: tuple[BenchmarkTurn, ...] = Field(min_length=1)
    instruction: str | None = None
    """What a right answer does, as the judge reads it; the model is not told."""
    checks: tuple[Check, ...] = ()
    language: str | None = None
    """ISO 639-1 of the answers; None: that of the questions."""

    @model_validator(mode="after")
    def _turns_exist(self) -> "BenchmarkRow":
        parts: dict[int, int] = {}
        for number, check in enumerate(self.checks):
            own = check.turn or len(self.turns)
            earlier = getattr(check, "earlier", None)
            if own > len(self.turns):
                raise ValueError(f"checks.{number}.turn is {own}, and there are {len(self.turns)} turns")
            if earlier is not None and earlier >= own:
                raise ValueError(f"checks.{number}.earlier is {earlier}, which is not before turn {own}")
            if check.kind == "voice" and own == 1:
                raise ValueError(f"checks.{number} compares the first turn with one before it")
            if check.kind == "voice_turns" and parts.setdefault(own, check.parts) != check.parts:
                told = f"{check.parts} parts, and another check into {parts[own]}"
                raise ValueError(f"checks.{number} divides the answer into {told}: use one check")
        return self

    def parts(self, turn: int) -> int:
        """The number of parts in which the voice of an answer is measured; `turn` from 1."""
        checks = (each for each in self.checks if each.kind == "voice_turns")
        return next((each.parts for each in checks if (each.turn or len(self.turns)) == turn), 1)

    @property
    def spoken_language(self) -> str:
        """The declared language, or else `zh` or `en` by the script of the questions."""
        if self.language:
            return self.language
        asked = "".join(turn.text or "" for turn in self.turns)
        return "zh" if UNSPACED_LETTER.search(asked) else "en"


def parse_row(value: Any, where: str) -> BenchmarkRow:
    """Raises DataError `bad_row` with the place and the key of the first error."""
    if not isinstance(value, dict):
        raise DataError("bad_row", f"{where}: the row is not an object")
    try:
        return BenchmarkRow.model_validate({name: each for name, each in value.items() if each is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise DataError("bad_row", f"{where}: {f'`{key}`: ' if key else ''}{message}") from None
