"""How text and speech of an answer stand to each other, and how long a sample may be."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from schemas.layout import check_ratio
from stages.stage import Config


class InterleaveConfig(Config):
    mode: Literal["interleaved", "text_first", "audio_only", "text_only"] = Field(
        "interleaved",
        description="answers in text and speech: in turns by the ratio, all text and then all audio, or one "
        "side alone",
    )
    ratio: tuple[PositiveInt, PositiveInt] = Field(
        (10, 15),
        description="text ids, then codes, in turns; the number of codes is a multiple of 5, a group's codes",
    )
    concatenation: Literal["marker_preserving", "marker_removal", "pre_interleaved"] = Field(
        "marker_preserving",
        description="answers of several voices: every voice between its own markers, one pair of markers "
        "around all, or each voice interleaved with its text before they are joined",
    )
    history_tokens_max: NonNegativeInt = Field(
        1024, description="most tokens of earlier turns before the last question; the oldest go first"
    )
    max_tokens: PositiveInt | None = Field(
        8192, description="longest sample in tokens; longer ones are set aside (null: no limit)"
    )

    @field_validator("ratio")
    @classmethod
    def _whole_groups(cls, ratio: tuple[int, int]) -> tuple[int, int]:
        return check_ratio(ratio)
