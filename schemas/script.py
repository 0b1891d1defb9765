"""Writing systems: which have no spaces between words, and which one a text is in."""

import re
import unicodedata
from collections import Counter

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which are written without spaces between words,
as the inside of a regular expression's character class."""

UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")

_SCRIPTS = {"CJK": "Chinese characters", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
_KANA_SHARE = 0.1
"""Share of kana among the letters from which a text with Chinese characters is Japanese."""


def script_of(text: str) -> str | None:
    """The script of most letters, such as `Latin` or `Japanese`; None without letters."""
    names = (unicodedata.name(letter, "").split(" ")[0] for letter in text if letter.isalpha())
    counts = Counter(_SCRIPTS.get(name, name.capitalize()) for name in names)
    if not counts:
        return None
    japanese = counts["Japanese"] >= _KANA_SHARE * counts.total()
    return "Japanese" if japanese and counts["Japanese"] else counts.most_common(1)[0][0]
