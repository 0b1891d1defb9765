"""Settings of the quality stage."""

from pydantic import Field

from stages.gpu import DeviceConfig


class QualityConfig(DeviceConfig):
    """The models to measure with."""

    vad: str = Field("package:silero-vad", description="voice activity detection model")
    quality: str = Field("package:dnsmos", description="DNSMOS P.835 speech quality model")
    pitch: str = Field("package:fcpe", description="FCPE pitch model")
    melody: bool = Field(
        False, description="keep the pitch of each turn, a value every 40 ms; for songs and for prosody"
    )

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models that the stage loads."""
        return (self.vad, self.quality, self.pitch)
