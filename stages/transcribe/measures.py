"""What a transcript's text says against it: loops, babble and phrases that recognisers make up."""

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
    """Words in small letters without punctuation; characters for languages written without spaces."""
    pattern = _BY_CHARACTER if language in WITHOUT_SPACES else _WORD
    return pattern.findall(unicodedata.normalize("NFKC", text).casefold())


LOOP = 3
"""People say a thing twice ("thou also, thou also"); a recogniser that loops does so until it is stopped."""


def repeated_share(words: Sequence[str], n: int) -> float:
    """Share of words that stand in an n-gram which comes `LOOP` times or more."""
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    often = {gram for gram, count in Counter(grams).items() if count >= LOOP}
    inside = {i + k for i, gram in enumerate(grams) if gram in often for k in range(n)}
    return len(inside) / len(words) if words else 0.0


def compression_ratio(text: str) -> float:
    """Length of the text over its zlib length; Whisper's own sign of a loop is 2.4."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def letters(text: str) -> int:
    """Characters without spaces."""
    return len("".join(text.split()))


@cache
def _phrases() -> tuple[frozenset[str], tuple[str, ...]]:
    whole: list[str] = []
    parts: list[str] = []
    for line in (Path(__file__).parent / "phantoms.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            (parts if line.startswith("~") else whole).append(_bare(line))
    return frozenset(whole), tuple(parts)


def _bare(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def is_phantom(text: str) -> bool:
    """The text is nothing but a phrase of phantoms.txt (once or over and over), or holds a credit of it."""
    bare = _bare(text)
    whole, parts = _phrases()
    sentences = {_bare(sentence) for sentence in re.split(r"[.!?。！？…]+", text)} - {""}
    return bare in whole or (bool(sentences) and sentences <= whole) or any(part in bare for part in parts)
