"""All sample families: the kind of source that each is built from, and the function that builds it."""

from collections.abc import Callable
from typing import Literal

from schemas.sample import Draft, Message
from stages.compose.config import ComposeConfig, Family
from stages.compose.controlled import controlled
from stages.compose.dialogue import aqta, aqtaa, dialect, taqta, tqta
from stages.compose.monologue import asr, continuation, interleaved, replay, tts
from stages.compose.singing import lyrics, nextline, sing, songname
from stages.compose.source import SampleSource

VERSION = 4

Kind = Literal["turn", "exchange", "passage", "line", "lines", "document"]
"""A single turn; a question and its answer; consecutive turns of one speaker; a turn of a song; such a turn
as the answer to the one before it; a text document."""

FAMILIES: dict[Family, tuple[Kind, Callable[[str, SampleSource, ComposeConfig], tuple[Message, ...]]]] = {
    "continuation": ("turn", continuation),
    "interleaved": ("turn", interleaved),
    "asr": ("turn", asr),
    "tts": ("turn", tts),
    "tqta": ("exchange", tqta),
    "aqta": ("exchange", aqta),
    "taqta": ("exchange", taqta),
    "aqtaa": ("exchange", aqtaa),
    "dialect": ("exchange", dialect),
    "controlled": ("passage", controlled),
    "sing": ("line", sing),
    "nextline": ("lines", nextline),
    "lyrics": ("line", lyrics),
    "songname": ("line", songname),
    "replay": ("document", replay),
}


def compose(family: Family, source: SampleSource, config: ComposeConfig) -> Draft:
    """Compose one sample of a family. Raises DataError if the source is not suitable for the family."""
    _, messages = FAMILIES[family]
    key = f"{source.key}-{family}"
    return Draft(key, family, messages(key, source, config), source.record(config.labels))
