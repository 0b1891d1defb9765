"""Settings of quality."""

from pydantic import Field

from stages.stage import Config


class QualityConfig(Config):
    """Which models measure. Thresholds on what they measure are select's."""

    vad: str = Field("package:silero-vad", description="voice activity")
    quality: str = Field("package:dnsmos", description="DNSMOS P.835 speech quality")
    pitch: str = Field("package:fcpe", description="pitch")

    @property
    def models(self) -> tuple[str, ...]:
        return (self.vad, self.quality, self.pitch)
