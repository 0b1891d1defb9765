"""Who speaks when: turns of single speakers, with overlapped speech told apart."""

from stages.diarize.config import DiarizeConfig
from stages.diarize.stage import DiarizeStage

__all__ = ["DiarizeConfig", "DiarizeStage"]
