"""Families of one turn, or of one text.

continuation  the speech goes on
interleaved   one clause as text, the next as speech
asr           instruction, speech -> its text
tts           instruction, text -> its speech
replay        text alone
"""

from schemas.errors import DataError
from schemas.hashing import hash_fraction
from schemas.sample import Message, Text
from schemas.style import SCALES
from stages.compose.clauses import clauses
from stages.compose.config import ComposeConfig
from stages.compose.source import SampleSource

Messages = tuple[Message, ...]


def continuation(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (said,) = source.answer
    speech = said.speech
    seconds, least = speech.clip.end - speech.clip.start, config.continuation_seconds_min
    if seconds < least:
        raise DataError("too_short", f"{seconds:.2f} s, under {least:g} s for a continuation")
    return (Message(None, (speech,)),)


def interleaved(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (said,) = source.answer
    found = clauses(said, config)
    if len(found) < 2:
        raise DataError("one_clause", "the turn is a single clause")
    parts = (clause.speech if n % 2 else clause.text for n, clause in enumerate(found))
    return (Message(None, tuple(parts)),)


def asr(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (said,) = source.answer
    asked = source.drawn(config.asr_instructions, key)
    instruction = (Text(asked),) if asked else ()
    return (Message("human", (*instruction, said.speech)), Message("assistant", (said.text,)))


def tts(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (said,) = source.answer
    asked = _styled(key, source, config) or source.drawn(config.tts_instructions, key)
    instruction = (Text(asked),) if asked else ()
    return (Message("human", (*instruction, said.text)), Message("assistant", (said.speech,)))


def replay(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (said,) = source.answer
    return (Message(None, (said.text,)),)


def _styled(key: str, source: SampleSource, config: ComposeConfig) -> str | None:
    """An instruction that names the style of the turn, for the share of turns that is asked to have one."""
    (said,) = source.answer
    words = config.style_words.get(source.language or "en") or config.style_words["en"]
    styles = [words[said.labels[name]] for name in SCALES if said.labels.get(name, "normal") != "normal"]
    if emotion := said.labels.get("emotion"):
        styles.append(words["emotion"].replace("{emotion}", emotion))
    if not styles or hash_fraction(f"style:{key}", bits=48) >= config.tts_style_share:
        return None
    template = source.drawn(config.styled_tts_instructions, key)
    return template.replace("{style}", words["and"].join(styles)) if template else None
