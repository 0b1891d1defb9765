"""The words by which two texts are compared: without case, punctuation or the form of a letter."""

import re
import unicodedata

UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which put no spaces between words."""


def words_of(text: str) -> list[str]:
    """Words in order; each letter is one in languages without spaces."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"[^\W_]+", UNSPACED.sub(lambda letter: f" {letter[0]} ", plain))
