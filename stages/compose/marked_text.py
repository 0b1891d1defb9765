"""Turns whose text has marks for what is heard in them besides words."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from schemas.recording import Word
from schemas.speech_marks import PAUSE, with_marks
from schemas.turn import AnnotatedTurn

PAUSE_SECONDS = 1.0
"""Silence between two words from which it is a pause."""


def marked(turn: AnnotatedTurn) -> AnnotatedTurn:
    """A turn with the marks of its transcript in one spelling, and one for each pause between its words."""
    transcript = turn.transcript
    if transcript is None:
        return turn
    words = tuple(replace(word, text=with_marks(word.text)) for word in transcript.words)
    text = with_marks(transcript.text)
    if words and "".join(word.text for word in words).strip() == text.strip():
        words = _with_pauses(words)
        text = "".join(word.text for word in words).strip()
    return replace(turn, transcript=replace(transcript, text=text, words=words))


def _with_pauses(words: Sequence[Word]) -> tuple[Word, ...]:
    """The words, those before a pause with a mark behind them."""
    silences = [following.start - word.end for word, following in pairwise(words)]
    return tuple(
        replace(word, text=f"{word.text} {PAUSE}") if silence >= PAUSE_SECONDS else word
        for word, silence in zip(words, [*silences, 0.0], strict=True)
    )
