"""How well each turn sounds: measures, no verdicts."""

from stages.quality.config import QualityConfig
from stages.quality.stage import QualityStage

__all__ = ["QualityConfig", "QualityStage"]
