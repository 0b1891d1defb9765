"""The text of a transcript, cleaned."""

import re
import unicodedata
from collections.abc import Callable

from schemas.errors import SetupError

_CONTROL = re.compile(r"[^\S ]|[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u2060\ufeff\ufffd]")
# Recognisers mix Taiwanese forms in (著 for 着), which t2s leaves as they are.
_TO = {"simplified": "tw2s", "traditional": "s2t"}


def clean(text: str) -> str:
    """Unicode NFC, no control characters or halves of characters, single spaces."""
    return re.sub(" +", " ", _CONTROL.sub(" ", unicodedata.normalize("NFC", text)))


def script_converter(script: str) -> Callable[[str], str]:
    """Chinese text into `simplified` or `traditional` characters; `keep` leaves it."""
    if script == "keep":
        return lambda text: text
    try:
        import opencc
    except ImportError as error:
        raise SetupError("chinese_script needs the package opencc; install it, or say keep") from error
    return opencc.OpenCC(_TO[script]).convert
