"""Families built from a single turn or a single text.

continuation  speech alone
interleaved   clauses alternating between text and speech
asr           instruction, speech -> its text
tts           instruction, text -> its speech
replay        text alone, as in pre-training
"""

from schemas.errors import DataError
from schemas.hashing import hash_fraction
from schemas.sample import Message, Text
from stages.compose.clauses import clauses
from stages.compose.config import ComposeConfig
from stages.compose.source import SampleSource, SourceSpan
from stages.compose.wording import dialect_in_words, style_in_words, words_of

Messages = tuple[Message, ...]


def continuation(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (span,) = source.answer
    speech = span.speech
    seconds, seconds_min = speech.clip.end - speech.clip.start, config.continuation_seconds_min
    if seconds < seconds_min:
        raise DataError("too_short", f"{seconds:.2f} s, under {seconds_min:g} s for a continuation")
    return (Message(None, (speech,)),)


def interleaved(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (span,) = source.answer
    alternating = clauses(span, config)
    if len(alternating) < 2:
        raise DataError("one_clause", "the turn is a single clause")
    parts = (clause.speech if n % 2 else clause.text for n, clause in enumerate(alternating))
    return (Message(None, tuple(parts)),)


def asr(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (span,) = source.answer
    _refuse_others(span, config.asr_speakers)
    phrasing = source.choose(config.asr_instructions, key)
    instruction = (Text(phrasing),) if phrasing else ()
    return (Message("human", (*instruction, span.speech)), Message("assistant", (span.text,)))


def tts(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (span,) = source.answer
    _refuse_others(span, config.tts_speakers)
    phrasing = _styled_instruction(key, source, config) or source.choose(config.tts_instructions, key)
    instruction = (Text(phrasing),) if phrasing else ()
    return (Message("human", (*instruction, span.text)), Message("assistant", (span.speech,)))


def replay(key: str, source: SampleSource, config: ComposeConfig) -> Messages:
    (span,) = source.answer
    return (Message(None, (span.text,)),)


def _refuse_others(span: SourceSpan, speakers: tuple[str, ...] | None) -> None:
    """Raises DataError `other_speaker` for a turn of a speaker that isn't wanted."""
    speaker = span.turn.turn.speaker if span.turn else None
    if speakers is not None and speaker not in speakers:
        raise DataError("other_speaker", f"its speaker is {speaker}, not {' or '.join(speakers)}")


def _styled_instruction(key: str, source: SampleSource, config: ComposeConfig) -> str | None:
    """An instruction that names the style of the turn; None for turns outside `tts_style_share`."""
    (span,) = source.answer
    words = words_of(source.language, config)
    named = style_in_words(span.labels, words), dialect_in_words(span.labels.get("dialect"), words)
    style = words["and"].join(filter(None, named))
    if not style or hash_fraction(f"style:{key}", bits=48) >= config.tts_style_share:
        return None
    template = source.choose(config.styled_tts_instructions, key)
    return template.replace("{style}", style) if template else None
