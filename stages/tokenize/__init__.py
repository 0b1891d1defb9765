"""The tokenize stage: speech as codes of two codebooks (Step-Audio-AQAA, section 2.1)."""

from stages.tokenize.config import TokenizeConfig
from stages.tokenize.stage import TokenizeStage, load_tokenizer

__all__ = ["TokenizeConfig", "TokenizeStage", "load_tokenizer"]
