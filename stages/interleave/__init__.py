"""Lay out messages as token ids, with text and codes interleaved, and compute the loss mask."""

from stages.interleave.config import InterleaveConfig
from stages.interleave.layout import VERSION, lay_out
from stages.interleave.streams import interleave

__all__ = ["VERSION", "InterleaveConfig", "interleave", "lay_out"]
