"""The words of a text for comparisons: without case, punctuation and variants of characters (NFKC)."""

import re
import unicodedata

from schemas.script import UNSPACED_LETTER


def words_of(text: str) -> list[str]:
    """The words in order; in scripts without spaces each character is a word."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"[^\W_]+", UNSPACED_LETTER.sub(lambda letter: f" {letter[0]} ", plain))
