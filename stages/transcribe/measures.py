"""Measures of a transcript's text that reveal recognition errors: loops and hallucinated phrases."""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from stages.transcribe.languages import WITHOUT_SPACES

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_BY_CHARACTER = re.compile(r"[a-z0-9]+|[^\W_]")


def words_of(text: str, language: str) -> list[str]:
    """Case-folded words without punctuation; for languages written without spaces, characters."""
    pattern = _BY_CHARACTER if language in WITHOUT_SPACES else _WORD
    return pattern.findall(unicodedata.normalize("NFKC", text).casefold())


MIN_REPETITIONS = 3
"""Repetitions that count as a loop. People repeat a phrase twice ("thou also, thou also"); a recogniser in a
loop repeats it until it reaches its limit."""


def repeated_share(words: Sequence[str], n: int) -> float:
    """Share of words that are part of an n-gram which occurs at least `MIN_REPETITIONS` times."""
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    repeated = {gram for gram, count in Counter(grams).items() if count >= MIN_REPETITIONS}
    positions = {i + k for i, gram in enumerate(grams) if gram in repeated for k in range(n)}
    return len(positions) / len(words) if words else 0.0


def compression_ratio(text: str) -> float:
    """Length of the text divided by its zlib-compressed length; Whisper treats more than 2.4 as a loop."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def letters(text: str) -> int:
    """Number of characters without whitespace."""
    return len("".join(text.split()))


@cache
def _phrases() -> tuple[frozenset[str], tuple[str, ...]]:
    """Phrases of phantoms.txt that must match a whole text, and those that may be a part of one."""
    whole: list[str] = []
    parts: list[str] = []
    for line in (Path(__file__).parent / "phantoms.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            (parts if line.startswith("~") else whole).append(_normalized(line))
    return frozenset(whole), tuple(parts)


def _normalized(text: str) -> str:
    """Case-folded words without punctuation, separated by single spaces."""
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def is_phantom(text: str) -> bool:
    """Whether the text consists of phrases of phantoms.txt, or contains one that is marked with `~`."""
    normalized = _normalized(text)
    whole, parts = _phrases()
    sentences = {_normalized(sentence) for sentence in re.split(r"[.!?。！？…]+", text)} - {""}
    return (
        normalized in whole
        or (bool(sentences) and sentences <= whole)
        or any(part in normalized for part in parts)
    )
