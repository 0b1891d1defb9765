"""The decode stage: recordings of any format to 16 kHz audio, with checks and measures."""

from stages.decode.config import DecodeConfig
from stages.decode.stage import DecodeStage, decode_file

__all__ = ["DecodeConfig", "DecodeStage", "decode_file"]
