"""Text to phonemes by espeak-ng, in the symbols that Kokoro was trained with."""

import re
from collections.abc import Sequence

from stages.espeak import SpokenClause, spoken_clauses

AMERICAN = "en-us"
BRITISH = "en-gb-x-rp"

_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs)\.(?= )")
"""Abbreviations whose stop espeak-ng takes for the end of a sentence, though it knows them without it."""
_INITIAL = re.compile(r"\b([A-Z])\.(?= ?[A-Z])")
_PRICE = re.compile(r"([$£€])(\d[\d,]*(?:\.\d+)?)( (?:thousand|million|billion|trillion)\b)?")
_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros"}

_SYMBOLS = (("eɪ", "A"), ("aɪ", "I"), ("ɔɪ", "Y"), ("aʊ", "W"), ("tʃ", "ʧ"), ("dʒ", "ʤ"))
"""Diphthongs and affricates of espeak-ng, each of which is a single symbol of the model."""
_OTHER = (("oʊ", "O"), ("əʊ", "Q"), ("ts", "ʦ"), ("dz", "ʣ"))
_ENGLISH = (
    *(("ʔn̩", "tᵊn"), ("n̩", "ᵊn"), ("l̩", "ᵊl"), ("m̩", "ᵊm"), ("ʔ", "t"), ("ɚ", "əɹ"), ("ɐ", "ə")),
    *(("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ɬ", "l"), ("ʲ", ""), ("\u0303", "")),
)
_AMERICAN = (
    *(("oʊ", "O"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ɾ", "T"), ("ː", "")),
    *(("o", "ɔ"), ("e", "A")),
)
_BRITISH = (("əʊ", "Q"), ("eə", "ɛː"), ("iə", "ɪə"), ("o", "ɔ"), ("e", "ɛ"))
_RULES = {AMERICAN: _SYMBOLS + _ENGLISH + _AMERICAN, BRITISH: _SYMBOLS + _ENGLISH + _BRITISH}


def espeak_phonemes(texts: Sequence[str], language: str) -> list[str]:
    """The phonemes of each text with its marks `,;:.!?…`; empty for a text without words.

    `language` is a language of espeak-ng. Raises SetupError if espeak-ng is not installed or fails.
    """
    english = language in _RULES
    plain = [_expanded(text) if english else text for text in texts]
    return [_joined(clauses, language) for clauses in spoken_clauses(plain, language)]


def _expanded(text: str) -> str:
    """English with abbreviations, initials and prices as espeak-ng reads them right."""
    text = _INITIAL.sub(r"\1 ", _TITLE.sub(r"\1", text))
    return _PRICE.sub(lambda found: f"{found[2]}{found[3] or ''} {_CURRENCIES[found[1]]}", text)


def _joined(clauses: Sequence[SpokenClause], language: str) -> str:
    parts = []
    for index, (phonemes, mark) in enumerate(clauses):
        # What ends neither in a mark nor with the text ended in an ellipsis.
        mark = mark or ("…" if index < len(clauses) - 1 else "")
        if sounds := _symbols(phonemes, language):
            parts.append(sounds + mark)
    return " ".join(parts)


def _symbols(phonemes: str, language: str) -> str:
    sounds = re.sub(r"\([^)]*\)|-", "", phonemes)
    for theirs, ours in _RULES.get(language, _SYMBOLS + _OTHER):
        sounds = sounds.replace(theirs, ours)
    return " ".join(sounds.split())
