"""Normalization of a transcript's text."""

import re
import unicodedata
from collections.abc import Callable

from schemas.errors import SetupError

_CONTROL = re.compile(r"[^\S ]|[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u2060\ufeff\ufffd]")
# tw2s, since recognisers also write Taiwanese variants (著 for 着), which t2s doesn't convert.
_OPENCC_CONFIG = {"simplified": "tw2s", "traditional": "s2t"}


def clean(text: str) -> str:
    """The text in Unicode NFC, without control and replacement characters, with single spaces."""
    return re.sub(" +", " ", _CONTROL.sub(" ", unicodedata.normalize("NFC", text)))


def script_converter(script: str) -> Callable[[str], str]:
    """A function that converts Chinese text to `simplified` or `traditional`; `keep` leaves it unchanged."""
    if script == "keep":
        return lambda text: text
    try:
        import opencc
    except ImportError as error:
        raise SetupError(
            "transcribe.chinese_script needs the package opencc: install it, or set it to keep"
        ) from error
    return opencc.OpenCC(_OPENCC_CONFIG[script]).convert
