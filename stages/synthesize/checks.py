"""Checks of synthesised turns: recognised words, speaking rate and voice."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from pydantic import Field

from schemas.recording import Problem
from schemas.script import UNSPACED, UNSPACED_LETTER
from schemas.speech_marks import without_marks
from schemas.turn import AnnotatedTurn
from stages.stage import Config

VERSION = 2

SILENCE_SECONDS = 0.6
"""Silence in an utterance before, between and after its words."""


class CheckConfig(Config):
    error_rate_max: float | None = Field(
        0.25,
        description="maximum word error rate of the recognised text; of characters in scripts without spaces",
    )
    letters_per_second_min: float | None = Field(
        5, description="minimum letters per second; a Chinese character counts as 3"
    )
    letters_per_second_max: float | None = Field(30, description="maximum letters per second")
    likeness_min: float | None = Field(
        0.6,
        description="minimum cosine similarity of the voice to that of the reference sentence; with CAM++, "
        "the same voice has over 0.75 and different voices have under 0.45",
    )


def check(turn: AnnotatedTurn, config: CheckConfig) -> Problem | None:
    """The reason to set aside a synthesised turn; None if it passes or is not synthesised."""
    synthesis = turn.metadata.get("synthesis")
    written = turn.turn.text
    if not isinstance(synthesis, dict) or written is None or turn.transcript is None:
        return None

    spoken = synthesis.get("spoken") or []
    likeness = spoken[turn.index].get("likeness") if turn.index < len(spoken) else None
    problem = fault(written, turn.transcript.text, turn.turn.seconds, likeness, config)
    return problem and replace(problem, turn=turn.index)


def fault(
    written: str, heard: str, seconds: float, likeness: float | None, config: CheckConfig
) -> Problem | None:
    """What is wrong with an utterance of `seconds`; None if it passes."""
    rate = error_rate(written, heard)
    if config.error_rate_max is not None and rate > config.error_rate_max:
        told = f"{rate:.0%} of its words are heard otherwise than written: {heard[:200]}"
        return Problem("misspoken", told)
    letter_total = letters(without_marks(written))
    if config.letters_per_second_max is not None and letter_total > config.letters_per_second_max * seconds:
        return Problem("too_short", f"{letter_total} letters in {seconds:.2f} s: some of it is not spoken")
    if config.letters_per_second_min is not None:
        longest = letter_total / config.letters_per_second_min + SILENCE_SECONDS
        if seconds > longest:
            return Problem(
                "too_long", f"{letter_total} letters in {seconds:.2f} s: there is more in it than the text"
            )
    if config.likeness_min is not None and likeness is not None and likeness < config.likeness_min:
        return Problem("other_voice", f"a likeness of {likeness:.2f} to the voice that it is said to be")
    return None


def as_written(turn: AnnotatedTurn) -> AnnotatedTurn:
    """A synthesised turn with its written text in place of the recognised one; other turns as they are."""
    if "synthesis" not in turn.metadata or turn.turn.text is None or turn.transcript is None:
        return turn
    return replace(turn, transcript=replace(turn.transcript, text=turn.turn.text, source="synthesis"))


def error_rate(written: str, heard: str) -> float:
    """Word error rate. Differences where only one of the texts has digits don't count, since numbers can be
    written as digits or as words."""
    a, b = _words(written), _words(heard)
    wrong = 0
    for kind, a0, a1, b0, b1 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "replace" and _has_digits(a[a0:a1]) != _has_digits(b[b0:b1]):
            continue
        if kind != "equal":
            wrong += max(a1 - a0, b1 - b0)
    return wrong / max(1, len(a))


_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+(?:['’][^\W_{UNSPACED}]+)*")


def _words(text: str) -> list[str]:
    """Case-folded words, and single characters of scripts without spaces; no marks of what else is heard."""
    plain = unicodedata.normalize("NFKC", without_marks(text)).casefold().replace("’", "'")
    return _WORD.findall(re.sub(r"(?<=\d)[.,:](?=\d)", "", plain))


def _has_digits(words: Sequence[str]) -> bool:
    return any(character.isdigit() for word in words for character in word)


def letters(text: str) -> int:
    """Number of letters and digits; a character of a script without spaces counts as 3."""
    return sum(3 if UNSPACED_LETTER.match(c) else 1 for c in text if c.isalnum())
