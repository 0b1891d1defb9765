"""Personal data in text: e-mail addresses, phone numbers, card numbers.

What is spelled out in words ("five five five") is not found.
"""

import re
import unicodedata

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_CARD = re.compile(r"(?<![\d.,])\d(?:[ -]?\d){12,18}(?![\d.,]*\d)")
_PHONE = re.compile(
    r"(?<![\d.,A-Za-z_])(?:\+\d{1,3}[ .-]?)?(?:\(\d{1,5}\)[ .-]?)?"
    r"\d{2,5}(?:[ .-]?\d{2,5}){1,5}(?![\dA-Za-z_])"
)
_LOCAL = re.compile(r"(?<![\w-])\d{3}-\d{4}(?![\w-])")
_PHONE_DIGITS = range(9, 16)
"""Fewer are years and prices, more are no phone number (ITU-T E.164)."""


def personal(text: str) -> str | None:
    """What kind of personal data a text holds, None for none that is known."""
    plain = unicodedata.normalize("NFKC", text)
    if _EMAIL.search(plain):
        return "an e-mail address"
    if any(_luhn(re.sub(r"\D", "", found)) for found in _CARD.findall(plain)):
        return "a card number"
    numbers = (re.sub(r"\D", "", found) for found in _PHONE.findall(plain))
    if any(len(number) in _PHONE_DIGITS for number in numbers) or _LOCAL.search(plain):
        return "a phone number"
    return None


def _luhn(digits: str) -> bool:
    """The check digit of card numbers (ISO/IEC 7812)."""
    total = 0
    for n, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + n % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0
