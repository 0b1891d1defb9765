"""Chinese text to phonemes, in the symbols that Kokoro was trained with."""

import logging
import re
from collections.abc import Iterator

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

_TONES = {"1": "→", "2": "↗", "3": "↓", "4": "↘", "5": ""}

_INITIALS = {
    "": "",
    **{"b": "p", "p": "pʰ", "m": "m", "f": "f", "d": "t", "t": "tʰ", "n": "n", "l": "l"},
    **{"g": "k", "k": "kʰ", "h": "x", "j": "ʨ", "q": "ʨʰ", "x": "ɕ", "z": "ʦ", "c": "ʦʰ", "s": "s"},
    **{"zh": "ꭧ", "ch": "ꭧʰ", "sh": "ʂ", "r": "ɻ"},
}

# `-` is where the tone goes.
_FINALS = {
    **{"a": "a-", "ai": "ai-", "an": "a-n", "ang": "a-ŋ", "ao": "au-"},
    **{"e": "ɤ-", "ei": "ei-", "en": "ə-n", "eng": "ə-ŋ", "o": "wo-", "ou": "ou-", "ong": "ʊ-ŋ"},
    **{"i": "i-", "ia": "ja-", "ian": "jɛ-n", "iang": "ja-ŋ", "iao": "jau-", "ie": "je-", "in": "i-n"},
    **{"ing": "i-ŋ", "iong": "jʊ-ŋ", "iou": "jou-"},
    **{"u": "u-", "ua": "wa-", "uai": "wai-", "uan": "wa-n", "uang": "wa-ŋ", "uei": "wei-", "uen": "wə-n"},
    **{"ueng": "wə-ŋ", "uo": "wo-"},
    **{"ü": "y-", "üe": "ɥe-", "üan": "ɥɛ-n", "ün": "y-n"},
}
_WHOLE = {"er": "ɚ-", "o": "ɔ-", "io": "jɔ-", "ê": "ɛ-"} | {s: f"{s}-" for s in ("m", "n", "hm")}
_WHOLE |= {"ng": "ŋ-", "hng": "hŋ-"}
"""Syllables that are not an initial and a final."""
_BUZZED = {"zh", "ch", "sh", "r", "z", "c", "s"}
"""Initials after which `i` is a vowel of its own."""


class Mandarin:
    """Words by jieba, their readings by pypinyin. Raises ModuleNotFoundError without these packages."""

    def __init__(self) -> None:
        import jieba
        import pypinyin  # noqa: F401 (so that a missing package is noticed here)

        jieba.setLogLevel(logging.WARNING)
        self._words = jieba.Tokenizer()

    def phonemes(self, text: str) -> str:
        """The phonemes of the Chinese characters of a text, words apart, and whatever else is in it."""
        parts = re.split(f"({HAN.pattern}+)", text)
        spoken = (" ".join(self._spoken(part)) if HAN.match(part) else part for part in parts)
        return "".join(spoken)

    def _spoken(self, text: str) -> Iterator[str]:
        from pypinyin import Style, lazy_pinyin

        for word in self._words.cut(text):
            readings = lazy_pinyin(word, style=Style.TONE3, neutral_tone_with_five=True, errors="ignore")
            if readings:
                yield "".join(map(syllable, readings))


def syllable(reading: str) -> str:
    """The phonemes of a syllable in pinyin with its tone, such as `hao3`."""
    from pypinyin.contrib.tone_convert import to_finals, to_initials

    plain, tone = reading[:-1], _TONES[reading[-1]]
    if plain in _WHOLE:
        return _WHOLE[plain].replace("-", tone)
    initial = to_initials(plain, strict=True)
    final = to_finals(plain, strict=True, v_to_u=True)
    vowel = "ɨ-" if final == "i" and initial in _BUZZED else _FINALS[final]
    return _INITIALS[initial] + vowel.replace("-", tone)
