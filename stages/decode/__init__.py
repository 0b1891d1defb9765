"""Any recording becomes 16 kHz audio, checked and measured."""

from stages.decode.config import DecodeConfig
from stages.decode.stage import DecodeStage, decode_file

__all__ = ["DecodeConfig", "DecodeStage", "decode_file"]
