"""The quality stage: measures how each turn sounds. Thresholds on the measures belong to select."""

from stages.quality.config import QualityConfig
from stages.quality.stage import QualityStage

__all__ = ["QualityConfig", "QualityStage"]
