"""Settings of the quality stage."""

from typing import Self

from pydantic import Field, model_validator

from stages.gpu import DeviceConfig
from stages.quality.ears import EarConfig

DNSMOS, FCPE = "package:dnsmos", "package:fcpe"


class QualityConfig(DeviceConfig):
    """The models to measure with."""

    vad: str = Field("package:silero-vad", description="voice activity detection model")
    quality: str | None = Field(
        DNSMOS, description="DNSMOS P.835 speech quality model (null: not measured, half of the stage's time)"
    )
    pitch: str | None = Field(
        FCPE,
        description="FCPE pitch model (null: neither pitch nor what is told by it is measured: voiced and "
        "sustained shares, alpha ratio, songs)",
    )
    melody: bool = Field(
        False, description="keep the pitch of each turn, a value every 40 ms; for songs and for prosody"
    )

    ears: dict[str, tuple[EarConfig, ...]] = Field(
        {},
        description="what else is heard in every turn, by a name such as emotion, sound or dialect: "
        "classifiers, of which several must agree",
    )

    @model_validator(mode="after")
    def _has_pitch(self) -> Self:
        if self.melody and self.pitch is None:
            raise ValueError("`melody` is the pitch of each turn: name a model as `pitch`, such as " + FCPE)
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        listed = (ear.model for ears in self.ears.values() for ear in ears)
        measuring = (self.vad, self.quality, self.pitch)
        return (*(model for model in measuring if model), *dict.fromkeys(listed))
