"""Writing systems without spaces between words, which matter for counting words."""

import re

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which are written without spaces between words,
as the inside of a regular expression's character class."""

UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
