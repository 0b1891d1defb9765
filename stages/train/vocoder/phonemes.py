"""Text to phonemes as the packaged voice was trained with: IPA by espeak-ng with punctuation."""

import re
import unicodedata
from collections.abc import Sequence

from stages.espeak import spoken_clauses


def phonemes_of(texts: Sequence[str], language: str) -> list[str]:
    """IPA of each text, one character per phoneme or mark. Raises SetupError without espeak-ng.

    `language` is a language of espeak-ng, such as en-us.
    """
    return [
        unicodedata.normalize(
            "NFD", " ".join(re.sub(r"\([^)]+\)", "", phonemes) + mark for phonemes, mark in clauses)
        )
        for clauses in spoken_clauses(texts, language)
    ]
