"""The words by which two texts are compared: without case, punctuation or the form of a letter."""

import re
import unicodedata

from schemas.script import UNSPACED_LETTER


def words_of(text: str) -> list[str]:
    """Words in order; each letter is one in languages without spaces."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"[^\W_]+", UNSPACED_LETTER.sub(lambda letter: f" {letter[0]} ", plain))
