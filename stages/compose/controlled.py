"""Answers whose rate, pitch, liveliness, loudness or emotion changes on the way, as the instruction requests.

The spans, two to five, are consecutive turns of one speaker, or were synthesised by one voice in different
styles. The instruction is derived from the labels that differ between neighbouring spans.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

from schemas.errors import DataError
from schemas.hashing import hash_fraction
from schemas.recording import UNKNOWN_SPEAKER
from schemas.sample import Message, Speech, Text
from schemas.turn import AnnotatedTurn
from stages.compose.config import ComposeConfig
from stages.compose.dialogue import chat
from stages.compose.labels import synthesised
from stages.compose.source import SampleSource, word_separator
from stages.compose.wording import change_in_words, parts_in_words, words_of


def passages(
    turns: Sequence[AnnotatedTurn], kept: Collection[int], config: ComposeConfig
) -> list[tuple[AnnotatedTurn, ...]]:
    """Consecutive kept turns of one voice, with no turn in between; passages share no turns.

    Each has two turns up to a number that is drawn for it, at most `controlled_spans_max`.
    """
    kept = frozenset(kept)
    runs: list[list[AnnotatedTurn]] = []
    for turn in sorted(turns, key=lambda turn: (turn.turn.start, turn.turn.end, turn.index)):
        usable = (
            turn.index in kept
            and turn.turn.speaker != UNKNOWN_SPEAKER
            and turn.turn.is_surely_its_speakers(config.controlled_speaker_margin_min)
        )
        run = runs[-1] if runs else []
        if usable and run and len(run) < _spans_wanted(run[0], config) and _continues(run[-1], turn, config):
            run.append(turn)
        else:
            runs.append([turn] if usable else [])
    return [tuple(run) for run in runs if len(run) > 1]


def _spans_wanted(first: AnnotatedTurn, config: ComposeConfig) -> int:
    return 2 + int(hash_fraction(f"spans:{first.key}", bits=48) * (config.controlled_spans_max - 1))


def _continues(before: AnnotatedTurn, turn: AnnotatedTurn, config: ComposeConfig) -> bool:
    gap = turn.turn.start - before.turn.end
    return _voice(before) == _voice(turn) and 0 <= gap <= config.controlled_gap_seconds_max


def _voice(turn: AnnotatedTurn) -> tuple[object, ...]:
    """Whose voice it is: a speaker on a track, and the synthetic voice that spoke for them, if one did."""
    return turn.turn.speaker, turn.turn.track, synthesised(turn).get("voice")


def controlled(key: str, source: SampleSource, config: ComposeConfig) -> tuple[Message, ...]:
    """Instruction with a spoken question or a text to read -> the spans, each in text and speech.

    A question that asks aloud for the way to speak has no other instruction.

    Raises:
        DataError: `several_voices` if the spans are not of one voice, `no_change` if the labels of no two
            neighbours differ, `no_instruction` if the recipe has no instruction for the language.
    """
    spans = source.answer
    if len({_voice(span.turn) for span in spans if span.turn}) > 1:
        raise DataError("several_voices", "another voice speaks, which is no change of style")
    instruction = Text(_instruction(key, source, config))  # raises for an answer without a change
    separator = word_separator(source.language)
    texts = [Text(separator * (n > 0) + span.text.text) for n, span in enumerate(spans)]
    content = tuple(part for text, span in zip(texts, spans, strict=True) for part in (text, span.speech))
    prompt: Text | Speech = (
        source.question.speech if source.question else Text("".join(text.text for text in texts))
    )
    question: tuple[Text | Speech, ...] = (prompt,) if source.asks_aloud else (instruction, prompt)
    return chat(key, source, config, question, content, interleaved=True)


def _instruction(key: str, source: SampleSource, config: ComposeConfig) -> str:
    """A phrasing of the changes from span to span; spans that sound alike are one part of the answer."""
    labels, words = [span.labels for span in source.answer], words_of(source.language, config)
    changes = [change for a, b in pairwise(labels) if (change := change_in_words(a, b, words))]
    if not changes:
        raise DataError("no_change", "neighbouring spans sound alike")
    if len(labels) == 2:
        answer, read = config.controlled_answer_instructions, config.controlled_reading_instructions
        slot, wording = "{change}", changes[0]
    else:
        answer, read = (
            config.controlled_parts_answer_instructions,
            config.controlled_parts_reading_instructions,
        )
        slot, wording = "{parts}", parts_in_words(labels[0], changes, words)
    template = source.choose(answer if source.question else read, key)
    if template is None:
        raise DataError("no_instruction", "the recipe has no instruction for a change in this language")
    return template.replace(slot, wording)
