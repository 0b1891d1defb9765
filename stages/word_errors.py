"""Word and character error counts after Whisper's text normalisation, as is standard in the field."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from schemas.script import UNSPACED_LETTER
from schemas.speech_marks import without_marks


@dataclass(frozen=True)
class Errors:
    wrong: int
    """Number of substitutions, deletions and insertions."""
    of: int
    """Number of words in the reference."""
    characters: bool = False
    """Both count characters instead, because the script has no spaces between words."""


def errors(language: str, reference: str, heard: str) -> Errors | None:
    """Count the errors of a transcript against its reference (minimum edit distance, Levenshtein).

    Marks of what is heard besides words don't count. English is normalised with Whisper's English normaliser
    (spelling, numbers), other languages with its basic one. Chinese is converted to simplified characters
    first.

    Args:
        language: ISO 639-1 code.
        reference: the text that was spoken.
        heard: the text that was recognised.

    Returns:
        The counts, or None if the reference has no words.
    """
    import jiwer

    normalise = normaliser(language)
    reference, heard = (normalise(without_marks(text)).strip() for text in (reference, heard))
    letters = "".join(reference.split())
    if not any(letter.isalnum() for letter in letters):
        return None
    characters = in_characters(letters)
    alignment: Any
    if characters:
        alignment = jiwer.process_characters(letters, "".join(heard.split()))
    else:
        alignment = jiwer.process_words(reference, heard)
    wrong = alignment.substitutions + alignment.deletions + alignment.insertions
    return Errors(wrong, alignment.substitutions + alignment.deletions + alignment.hits, characters)


def in_characters(text: str) -> bool:
    """Whether the errors in a text are counted by characters, as it is mostly in a script without spaces."""
    return 2 * len(UNSPACED_LETTER.findall(text)) > len("".join(text.split()))


@cache
def normaliser(language: str) -> Callable[[str], str]:
    """Whisper's text normaliser of a language; Chinese becomes simplified."""
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
