"""From messages to ids: text and codes in turns, and which tokens the model is to learn."""

from stages.interleave.config import InterleaveConfig
from stages.interleave.layout import VERSION, lay_out
from stages.interleave.streams import interleave

__all__ = ["VERSION", "InterleaveConfig", "interleave", "lay_out"]
