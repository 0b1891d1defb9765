"""Settings of decode."""

from typing import Literal

from pydantic import Field

from stages.stage import Config


class DecodeConfig(Config):
    """How channels are treated, and what is too broken or too empty to go on with."""

    channels: Literal["auto", "mix", "split"] = Field(
        "auto",
        description="auto: a call with one speaker a channel is split, all else becomes one track; "
        "mix: always one track; split: a track for every channel that carries anything",
    )
    min_seconds: float = Field(0.1, gt=0, description="seconds; shorter recordings are set aside")
    min_level_dbfs: float = Field(
        -80.0, le=0, description="dB; a recording whose loudest 30 ms are below this is silent"
    )
    min_decoded_share: float = Field(
        0.1, ge=0, le=1, description="a damaged recording is kept when more than this share of it decodes"
    )
    max_damaged_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="share of samples that may be no number or beyond any sane peak, and are silenced",
    )

    @property
    def models(self) -> tuple[str, ...]:
        return ()
