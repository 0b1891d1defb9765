"""Answers that change their rate, pitch, liveliness, loudness or emotion half way, as an instruction asks.

Two turns of one speaker that follow each other are the halves, or two spans that a voice spoke so; their
labels say what changes.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

from schemas.errors import DataError
from schemas.sample import Message, Speech, Text
from schemas.style import SCALES
from schemas.turn import AnnotatedTurn
from stages.compose.config import ComposeConfig
from stages.compose.dialogue import chat
from stages.compose.source import SampleSource, SourceSpan, joint

_CHANGES = {
    "rate": ("slower", "faster"),
    "pitch": ("lower", "higher"),
    "liveliness": ("flatter", "livelier"),
    "loudness": ("softer", "louder"),
}
"""What a step down and a step up of each measure is called."""


def passages(
    turns: Sequence[AnnotatedTurn], kept: Collection[int], config: ComposeConfig
) -> list[tuple[AnnotatedTurn, AnnotatedTurn]]:
    """Kept turns of one speaker that follow each other with nobody between; no turn stands in two."""
    kept = frozenset(kept)
    ordered = sorted(turns, key=lambda turn: (turn.turn.start, turn.turn.end, turn.index))
    found: list[tuple[AnnotatedTurn, AnnotatedTurn]] = []
    for first, second in pairwise(ordered):
        gap = second.turn.start - first.turn.end
        if (
            first.index in kept
            and second.index in kept
            and (first.turn.speaker, first.turn.track) == (second.turn.speaker, second.turn.track)
            and 0 <= gap <= config.controlled_gap_seconds_max
            and not (found and found[-1][1] is first)
        ):
            found.append((first, second))
    return found


def controlled(key: str, source: SampleSource, config: ComposeConfig) -> tuple[Message, ...]:
    """Instruction, and question or text -> two halves in text and speech. Raises DataError `no_change`."""
    first, second = source.answer
    changes = _changes(first, second, source, config)
    more = Text(joint(source.language) + second.text.text)
    content = (first.text, first.speech, more, second.speech)
    if source.question is None:
        instruction = source.drawn(config.controlled_reading_instructions, key)
        asked: tuple[Text | Speech, ...] = (Text(first.text.text + more.text),)
    else:
        instruction = source.drawn(config.controlled_answer_instructions, key)
        asked = (source.question.speech,)
    if instruction is None:
        raise DataError("no_instruction", "the recipe has no instruction for a change in this language")
    question = (Text(instruction.replace("{change}", changes)), *asked)
    return chat(key, source, config, question, content, interleaved=True)


def _changes(first: SourceSpan, second: SourceSpan, source: SampleSource, config: ComposeConfig) -> str:
    """What an instruction calls the changes from the first half to the second."""
    words = config.style_words.get(source.language or "en") or config.style_words["en"]
    named = []
    for measure, scale in SCALES.items():
        before, after = first.labels.get(measure), second.labels.get(measure)
        if before is not None and after is not None and before != after:
            named.append(words[_CHANGES[measure][scale.index(after) > scale.index(before)]])
    emotion = second.labels.get("emotion")
    if emotion and first.labels.get("emotion") not in (None, emotion):
        named.append(words["emotion"].replace("{emotion}", emotion))
    if not named:
        raise DataError("no_change", "both halves sound alike")
    return words["and"].join(named)
