"""The words of a text for comparisons, without marks, case, punctuation and variants of characters (NFKC)."""

import re
import unicodedata

from schemas.script import UNSPACED_LETTER
from schemas.speech_marks import without_marks


def words_of(text: str) -> list[str]:
    """The words in order; in scripts without spaces each character is a word."""
    plain = unicodedata.normalize("NFKC", without_marks(text)).casefold()
    return re.findall(r"[^\W_]+", UNSPACED_LETTER.sub(lambda letter: f" {letter[0]} ", plain))
