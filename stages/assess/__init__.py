"""How well each turn sounds: measures, no verdicts."""

from stages.assess.config import AssessConfig
from stages.assess.stage import AssessStage

__all__ = ["AssessConfig", "AssessStage"]
