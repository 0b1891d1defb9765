"""Speech for text: answers from a language model, voices from a backend, and checks of what came out."""

from stages.synthesize.config import SynthesizeConfig

__all__ = ["SynthesizeConfig"]
