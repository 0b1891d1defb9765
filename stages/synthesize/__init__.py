"""Synthesis: answers from a language model, speech from a TTS backend, and checks of the result."""

from stages.synthesize.config import SynthesizeConfig

__all__ = ["SynthesizeConfig"]
