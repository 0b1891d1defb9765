"""Words heard otherwise than they were said, as the field counts them: over Whisper's text normalisers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from schemas.script import UNSPACED_LETTER


@dataclass(frozen=True)
class Errors:
    wrong: int
    """Words replaced, left out or put in."""
    of: int
    """Words of the reference."""
    characters: bool = False
    """Both count characters, because the language puts no spaces between words."""


def errors(language: str, reference: str, heard: str) -> Errors | None:
    """What is heard against what was said, in a language (ISO 639-1); None for a reference without words.

    The least number of edits (Levenshtein). English goes through Whisper's normaliser of spelling and
    numbers, other languages through its basic one, Chinese into simplified characters first.
    """
    import jiwer

    normal = _normaliser(language)
    reference, heard = normal(reference).strip(), normal(heard).strip()
    letters = "".join(reference.split())
    if not any(letter.isalnum() for letter in letters):
        return None
    characters = 2 * len(UNSPACED_LETTER.findall(letters)) > len(letters)
    aligned: Any
    if characters:
        aligned = jiwer.process_characters(letters, "".join(heard.split()))
    else:
        aligned = jiwer.process_words(reference, heard)
    wrong = aligned.substitutions + aligned.deletions + aligned.insertions
    return Errors(wrong, aligned.substitutions + aligned.deletions + aligned.hits, characters)


@cache
def _normaliser(language: str) -> Callable[[str], str]:
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    if language == "en":
        english: Callable[[str], str] = EnglishTextNormalizer()
        return english
    basic = BasicTextNormalizer()
    if language not in ("zh", "yue"):
        return lambda text: str(basic(text))
    import opencc

    simplified = opencc.OpenCC("tw2s").convert
    return lambda text: str(basic(simplified(text)))
