"""Settings of the decode stage."""

from typing import Any, Literal

from pydantic import Field

from stages.decode.separator import SeparatorConfig
from stages.stage import Config


class DecodeConfig(Config):
    """How to treat channels, and which recordings are too damaged or too quiet to keep."""

    channels: Literal["auto", "mix", "split"] = Field(
        "auto",
        description="auto: split a call with one speaker per channel, turn anything else into one track; "
        "mix: always one track; split: one track for every channel that is not silent",
    )
    min_seconds: float = Field(0.1, gt=0, description="seconds; shorter recordings are set aside")
    min_level_dbfs: float = Field(
        -80.0, le=0, description="dBFS; a recording whose loudest 30 ms are below this is silent"
    )
    min_decoded_share: float = Field(
        0.1, ge=0, le=1, description="minimum share of a damaged recording that must be decodable to keep it"
    )
    max_damaged_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="maximum share of samples that are not finite or far beyond full scale, and silenced",
    )

    separator: SeparatorConfig | None = Field(
        None, description="model that leaves of songs their vocals, for all later stages; null: none"
    )

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        return (self.separator.model,) if self.separator else ()

    def content(self) -> dict[str, Any]:
        """As in `Config`; without a separator as before there were any, so that nothing is decoded again."""
        return self.model_dump(mode="json", exclude=None if self.separator else {"separator"})
