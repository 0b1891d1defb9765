"""What a companion says about a recording."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.recording import Word
from schemas.script import UNSPACED_LETTER

UNTIL_THE_END = float("inf")
"""End of a segment that lasts until the end of its recording."""

_SOUND = re.compile(r"\[[^]]*\]|\([^)]*\)|[♪♫#*]")
"""`[music]`, `(laughs)`: what is heard besides words."""


@dataclass(frozen=True)
class CompanionSegment:
    """A stretch of speech, or a single word of it; times in seconds."""

    start: float
    end: float
    speaker: str
    """`somebody` if the file doesn't say who speaks; empty if it only says on which channel."""
    channel: str | None = None
    """As the file names it: a number, or a letter from A."""
    text: str | None = None
    word: bool = False
    """A word that is still to be joined with others of its speaker."""
    probability: float | None = None
    """Confidence of a word, 0..1."""
    incomplete: bool = False
    """The line of the word before or after it was set aside."""


@dataclass(frozen=True)
class LineAside:
    """A line that can't be used."""

    line: int
    """Counted from 1."""
    reason: str


@dataclass(frozen=True)
class CompanionAnnotation:
    """The segments on one recording, in order of start, and what was left out of them."""

    segments: tuple[CompanionSegment, ...]
    aside: tuple[LineAside, ...] = ()
    notes: tuple[str, ...] = ()
    """What was repaired or left out, as sentences for a reader."""


@dataclass(frozen=True)
class CompanionEntry:
    """What a parser found at a line: a segment, or why there is none."""

    line: int
    recording: str
    """The recording that the entry names; empty if it names none."""
    segment: CompanionSegment | None
    trouble: str = ""


def spaced(words: Sequence[CompanionSegment]) -> tuple[Word, ...]:
    """Words of one speaker as `Word`: all but the first with a leading space, where the script uses one."""
    found: list[Word] = []
    for word in words:
        said = word.text or ""
        joined = found and UNSPACED_LETTER.match(said) and UNSPACED_LETTER.match(found[-1].text[-1:])
        probability = 1.0 if word.probability is None else word.probability
        found.append(Word(word.start, word.end, " " * bool(found and not joined) + said, probability))
    return tuple(found)


def has_words(text: str) -> bool:
    """Whether a text tells of more than sounds, such as `[music]`."""
    return any(letter.isalnum() for letter in _SOUND.sub("", text))


def number(value: object, field: str) -> float:
    """A number of seconds. Raises ValueError."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if isinstance(value, bool) or not abs(found) < float("inf"):
        raise ValueError(f"{field} is {value!r}, not a number of seconds")
    return found


def channel(value: object) -> str | None:
    """The name of a channel; None if it says nothing. Raises ValueError."""
    name = "" if value is None or isinstance(value, bool) else str(value).strip().upper()
    if name in ("", "-", "<NA>") and not isinstance(value, bool):
        return None
    name = {"L": "A", "LEFT": "A", "R": "B", "RIGHT": "B"}.get(name, name)
    numbered = name.isascii() and name.isdigit() and len(name) <= 2 and int(name) <= 64
    if numbered or (len(name) == 1 and "A" <= name <= "H"):
        return str(int(name)) if numbered else name
    raise ValueError(f"channel is {value!r}, not a number (or A, B)")
