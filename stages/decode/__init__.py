"""The decode stage: recordings of any format to 16 kHz audio, with checks and measures."""

from stages.decode.config import DecodeConfig
from stages.decode.separator import Separator
from stages.decode.stage import SEPARATED, DecodeStage, decode_file, decode_song

__all__ = ["SEPARATED", "DecodeConfig", "DecodeStage", "Separator", "decode_file", "decode_song"]
