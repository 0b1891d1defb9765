"""What is said in each turn."""

from stages.transcribe.config import TranscribeConfig
from stages.transcribe.stage import TranscribeStage

__all__ = ["TranscribeConfig", "TranscribeStage"]
