"""The families: what each is made of, and who makes its messages."""

from collections.abc import Callable
from typing import Literal

from schemas.sample import Draft, Message
from stages.compose.config import ComposeConfig, Family
from stages.compose.controlled import controlled
from stages.compose.dialogue import aqta, aqtaa, taqta, tqta
from stages.compose.monologue import asr, continuation, interleaved, replay, tts
from stages.compose.source import SampleSource

VERSION = 2

Kind = Literal["turn", "exchange", "passage", "document"]
"""A turn; a question and its answer; two turns of one speaker; a text."""

FAMILIES: dict[Family, tuple[Kind, Callable[[str, SampleSource, ComposeConfig], tuple[Message, ...]]]] = {
    "continuation": ("turn", continuation),
    "interleaved": ("turn", interleaved),
    "asr": ("turn", asr),
    "tts": ("turn", tts),
    "tqta": ("exchange", tqta),
    "aqta": ("exchange", aqta),
    "taqta": ("exchange", taqta),
    "aqtaa": ("exchange", aqtaa),
    "controlled": ("passage", controlled),
    "replay": ("document", replay),
}


def compose(family: Family, source: SampleSource, config: ComposeConfig) -> Draft:
    """One sample. Raises DataError where the source can't serve that family."""
    _, messages = FAMILIES[family]
    key = f"{source.key}-{family}"
    return Draft(key, family, messages(key, source, config), source.record())
