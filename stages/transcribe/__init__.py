"""The transcribe stage: text, language and word times of each turn."""

from stages.transcribe.config import TranscribeConfig
from stages.transcribe.stage import TranscribeStage

__all__ = ["TranscribeConfig", "TranscribeStage"]
