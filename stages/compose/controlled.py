"""Answers whose rate, pitch, liveliness, loudness or emotion changes halfway, as the instruction requests.

The two halves are consecutive turns of one speaker, or two spans that were synthesised in different styles.
The instruction is derived from the difference between their labels.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

from schemas.errors import DataError
from schemas.recording import UNKNOWN_SPEAKER
from schemas.sample import Message, Speech, Text
from schemas.style import SCALES
from schemas.turn import AnnotatedTurn
from stages.compose.config import ComposeConfig
from stages.compose.dialogue import chat
from stages.compose.source import SampleSource, SourceSpan, word_separator

_CHANGE_NAMES = {
    "rate": ("slower", "faster"),
    "pitch": ("lower", "higher"),
    "liveliness": ("flatter", "livelier"),
    "loudness": ("softer", "louder"),
}
"""Measure -> the names of a change down and up its scale."""


def passages(
    turns: Sequence[AnnotatedTurn], kept: Collection[int], config: ComposeConfig
) -> list[tuple[AnnotatedTurn, AnnotatedTurn]]:
    """Pairs of consecutive kept turns of one speaker, with no turn in between; pairs share no turns."""
    kept = frozenset(kept)
    ordered = sorted(turns, key=lambda turn: (turn.turn.start, turn.turn.end, turn.index))
    pairs: list[tuple[AnnotatedTurn, AnnotatedTurn]] = []
    for first, second in pairwise(ordered):
        gap = second.turn.start - first.turn.end
        if (
            first.index in kept
            and second.index in kept
            and (first.turn.speaker, first.turn.track) == (second.turn.speaker, second.turn.track)
            and first.turn.speaker != UNKNOWN_SPEAKER
            and first.turn.is_surely_its_speakers(config.controlled_speaker_margin_min)
            and second.turn.is_surely_its_speakers(config.controlled_speaker_margin_min)
            and 0 <= gap <= config.controlled_gap_seconds_max
            and not (pairs and pairs[-1][1] is first)
        ):
            pairs.append((first, second))
    return pairs


def controlled(key: str, source: SampleSource, config: ComposeConfig) -> tuple[Message, ...]:
    """Instruction with a spoken question or a text to read -> two halves, interleaved in text and speech.

    Raises:
        DataError: `no_change` if the labels of the halves do not differ, `no_instruction` if the recipe has
            no instruction for the language.
    """
    first, second = source.answer
    changes = _describe_changes(first, second, source, config)
    second_text = Text(word_separator(source.language) + second.text.text)
    content = (first.text, first.speech, second_text, second.speech)
    if source.question is None:
        instruction = source.choose(config.controlled_reading_instructions, key)
        prompt: tuple[Text | Speech, ...] = (Text(first.text.text + second_text.text),)
    else:
        instruction = source.choose(config.controlled_answer_instructions, key)
        prompt = (source.question.speech,)
    if instruction is None:
        raise DataError("no_instruction", "the recipe has no instruction for a change in this language")
    question = (Text(instruction.replace("{change}", changes)), *prompt)
    return chat(key, source, config, question, content, interleaved=True)


def _describe_changes(
    first: SourceSpan, second: SourceSpan, source: SampleSource, config: ComposeConfig
) -> str:
    """The changes from the first half to the second, in the wording of an instruction."""
    words = config.style_words.get(source.language or "en") or config.style_words["en"]
    changes = []
    for measure, scale in SCALES.items():
        before, after = first.labels.get(measure), second.labels.get(measure)
        if before is not None and after is not None and before != after:
            changes.append(words[_CHANGE_NAMES[measure][scale.index(after) > scale.index(before)]])
    emotion = second.labels.get("emotion")
    if emotion and first.labels.get("emotion") not in (None, emotion):
        changes.append(words["emotion"].replace("{emotion}", emotion))
    if not changes:
        raise DataError("no_change", "both halves sound alike")
    return words["and"].join(changes)
