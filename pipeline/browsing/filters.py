"""What a reader of the page asks for, as typed values: no text of theirs becomes part of a query."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.report.measures import MEASURES, Measure
from stages.select import LIMITS

BROWSED: dict[str, Measure] = {
    measure.column: measure
    for measure in (
        *MEASURES,
        Measure("voice_similarity", "Likeness of the voice within the turn", "cosine", 0, 1),
        Measure("speaker_margin", "Likeness of the voice to its speaker", "cosine", -0.5, 1),
        Measure("identity_similarity", "Likeness of the speaker to the person", "cosine", 0, 1),
        Measure("transcript.no_speech_probability", "Probability that nobody speaks", "0 to 1", 0, 1),
        Measure("transcript.repeated_share", "Share of repeated words", "0 to 1", 0, 1),
        Measure("transcript.characters_per_second", "Characters", "a second", 0, 40),
        Measure("transcript.longest_word", "Longest word", "letters", 0, 40),
        Measure("assessment.clipped_share", "Share of clipped samples", "0 to 1", 0, 0.02),
        Measure("assessment.words_outside_speech", "Words where no speech is heard", "0 to 1", 0, 1),
        Measure("assessment.tempo_bpm", "Tempo of songs", "beats per minute", 40, 200),
        Measure("assessment.vibrato_hz", "Vibrato of songs", "Hz", 4, 8),
        Measure("assessment.vibrato_cents", "Extent of the vibrato", "cents", 0, 200),
    )
}
"""Column of a turn -> the measure, in the order of the page."""

CATEGORIES = {
    "status": "Status",
    "reason": "Reason",
    "stage": "Stage that set it aside",
    "language": "Language",
    "dialect": "Dialect",
    "speaker": "Speaker",
    "identity": "Person",
    "source": "Source",
}
"""Column of a turn -> its title."""

WORDS = "words"
_COLUMNS = {column.rpartition(".")[2].removesuffix("_lufs"): column for column in BROWSED} | {WORDS: WORDS}
LIMIT_COLUMNS = {limit: _COLUMNS[limit.rpartition("_")[0]] for limit in LIMITS}
"""Threshold of `select` -> the column that it limits."""

Number = Annotated[float, Field(allow_inf_nan=False)]


class _FromPage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MovedThreshold(_FromPage):
    """Another value of a threshold of `select`, with all others as they are; None turns it off."""

    limit: str
    value: Number | None

    @field_validator("limit")
    @classmethod
    def _known(cls, value: str) -> str:
        return _one_of(value, LIMIT_COLUMNS)


class MovedTurns(MovedThreshold):
    """The turns that another value of a threshold would keep too, or no longer."""

    side: Literal["comes", "goes"]


class OtherVersion(_FromPage):
    """Turns that another version lacks, or for which it decided otherwise."""

    with_version: int = Field(ge=0)
    """Position among the versions that are open."""
    how: Literal["only_here", "other_status"]


class TurnFilter(_FromPage):
    """Turns that meet all of these; everything by default."""

    ranges: dict[str, tuple[Number | None, Number | None]] = {}
    """Column of a measure -> its least and its greatest value; a turn without the measure is left out."""
    among: dict[str, tuple[str, ...]] = {}
    """Category -> its values, of which a turn has one; an empty text stands for none."""
    text: str = Field("", max_length=200)
    """Part of the text or of the recording's name, in any case."""
    comparison: OtherVersion | None = None
    moved: MovedTurns | None = None

    @field_validator("ranges")
    @classmethod
    def _measures(
        cls, value: dict[str, tuple[Number | None, Number | None]]
    ) -> dict[str, tuple[Number | None, Number | None]]:
        return {_one_of(name, BROWSED): limits for name, limits in value.items()}

    @field_validator("among")
    @classmethod
    def _categories(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {_one_of(name, CATEGORIES): values for name, values in value.items()}


class Order(_FromPage):
    """The order of the table: by a measure, or as the turns stand in the version."""

    by: str = ""
    descending: bool = False

    @field_validator("by")
    @classmethod
    def _measure(cls, value: str) -> str:
        return value and _one_of(value, BROWSED)


def _one_of(name: str, names: Mapping[str, object]) -> str:
    if name not in names:
        raise ValueError(f"there is no {name!r}")
    return name
