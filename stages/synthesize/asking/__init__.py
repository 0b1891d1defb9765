"""Questions that ask, aloud, for a way to speak."""

from stages.synthesize.asking.phrasings import Phrasings
from stages.synthesize.asking.requests import SpeakingRequest, SpokenInstructionsConfig, with_request

__all__ = ["Phrasings", "SpeakingRequest", "SpokenInstructionsConfig", "with_request"]
