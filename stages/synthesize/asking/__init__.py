"""Questions that ask, aloud, for a way to speak."""

from stages.synthesize.asking.phrasings import AskingTemplates
from stages.synthesize.asking.requests import SpeakingRequest, SpokenInstructionsConfig, with_request

__all__ = ["AskingTemplates", "SpeakingRequest", "SpokenInstructionsConfig", "with_request"]
