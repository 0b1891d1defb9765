"""Scripts, as far as counting words depends on them."""

import re

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which put no spaces between words: the
inside of a character class of a regular expression."""

UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
