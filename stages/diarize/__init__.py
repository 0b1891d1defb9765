"""The diarize stage: who speaks when, as turns of single speakers with overlapped speech marked."""

from stages.diarize.config import DiarizeConfig
from stages.diarize.stage import DiarizeStage

__all__ = ["DiarizeConfig", "DiarizeStage"]
