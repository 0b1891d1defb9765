"""Settings of the quality stage."""

from pydantic import Field

from stages.gpu import DeviceConfig
from stages.quality.ears import EarConfig


class QualityConfig(DeviceConfig):
    """The models to measure with."""

    vad: str = Field("package:silero-vad", description="voice activity detection model")
    quality: str = Field("package:dnsmos", description="DNSMOS P.835 speech quality model")
    pitch: str = Field("package:fcpe", description="FCPE pitch model")
    melody: bool = Field(
        False, description="keep the pitch of each turn, a value every 40 ms; for songs and for prosody"
    )

    ears: dict[str, tuple[EarConfig, ...]] = Field(
        {},
        description="what else is heard in every turn, by a name such as emotion, sound or dialect: "
        "classifiers, of which several must agree",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        listed = (ear.model for ears in self.ears.values() for ear in ears)
        return (self.vad, self.quality, self.pitch, *dict.fromkeys(listed))
