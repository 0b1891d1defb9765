"""How the text and speech of an answer are arranged, and the maximum length of a sample."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from schemas.layout import check_ratio
from stages.stage import Config


class InterleaveConfig(Config):
    mode: Literal["interleaved", "text_first", "audio_only", "text_only"] = Field(
        "interleaved",
        description="layout of answers that have both text and speech: alternating by `ratio` "
        "(`interleaved`), all text and then all audio (`text_first`), or only one of the two",
    )
    ratio: tuple[PositiveInt, PositiveInt] = Field(
        (10, 15),
        description="number of text tokens, then number of audio codes, that alternate in `interleaved` "
        "mode; the number of codes must be a multiple of 5, the size of a code group",
    )
    concatenation: Literal["marker_preserving", "marker_removal", "pre_interleaved"] = Field(
        "marker_preserving",
        description="layout of answers with several audio spans: each span between its own audio markers "
        "(`marker_preserving`), one pair of markers around all spans (`marker_removal`), or each span "
        "interleaved with its own text before they are concatenated (`pre_interleaved`)",
    )
    history_tokens_max: NonNegativeInt = Field(
        1024,
        description="maximum number of tokens of conversation history before the last question; the oldest "
        "turns are dropped first",
    )
    max_tokens: PositiveInt | None = Field(
        8192,
        description="maximum length of a sample in tokens; longer samples are set aside (null: no limit)",
    )

    @field_validator("ratio")
    @classmethod
    def _whole_groups(cls, ratio: tuple[int, int]) -> tuple[int, int]:
        return check_ratio(ratio)
