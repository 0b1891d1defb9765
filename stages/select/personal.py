"""Personal data in text: e-mail addresses, phone numbers, card numbers.

Phone numbers are recognised by the forms in which they are written, not by their number of digits alone, as
years, dates, prices and counts have as many. Numbers spelled out in words ("five five five") are not found.
"""

import re
import unicodedata

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_CARD = re.compile(
    r"(?<![\d.,])(?=2[2-7]|3[04-9]|4|5[0-8]|6)"  # what card schemes begin with: not years, and not ISBN
    r"\d{4}[ -]?(?:\d{6}[ -]?\d{4,5}|\d{4}[ -]?\d{4}[ -]?\d{1,4}(?:[ -]?\d{1,3})?)(?![\d.,]*\d)"
)

_DIGIT = r"(?:[ ./()-]{0,3}\d)"
_DATE = r"\d{1,2}[ ./-]\d{1,2}[ ./-](?:19|20)\d\d(?!\d)"
_REST_OF_A_COUNT = r"(?<=\d )\d{3}(?: \d{3})+(?! ?\d)"  # 12 045 678 901
_PHONE_FORMS = (
    rf"\+[1-9]{_DIGIT}{{8,14}}",  # international: +49 (0)30 901820; at most 15 digits by ITU-T E.164
    rf"00[1-9]{_DIGIT}{{8,14}}",  # 0049 30 901820
    # With a trunk zero: 020 7946 0958, 030/901820, 010-65529988
    rf"(?<!\d/)(?!{_DATE})0[1-9]{_DIGIT}{{7,10}}",
    rf"\((?!(?:19|20)\d\d\))\d{{2,5}}\){_DIGIT}{{7,9}}",  # area code in brackets: (555) 123-4567
    r"(?:1[ .-])?[2-9]\d{2}[ .-]\d{3}[ .-]\d{4}",  # North America: 555-123-4567
    r"1?[2-9]\d{2}[2-9]\d{2}(?!0000)\d{4}",  # North America without separators: 2125550123
    r"[2-9]\d{2}-(?!\d{2}[05]0)\d{4}(?!-)",  # North America, local: 555-1234, but not the range 500-1000
    r"1[3-9]\d[ -]?\d{4}[ -]?\d{4}",  # Chinese mobile: 138 0013 8000
    r"[6-9]\d{2}[ -]\d{2}[ -]\d{2}[ -]\d{2}",  # Spain: 612 34 56 78
)
_PHONE = re.compile(
    rf"(?<![\d.,A-Za-z_$€£¥-])(?!{_REST_OF_A_COUNT})(?:{'|'.join(_PHONE_FORMS)})"
    r"(?![\dA-Za-z_]|[.,]\d)(?! ?[$€£¥%])"
)
_ROUND = "000000"
"""A number that ends so is a count."""


def personal(text: str) -> str | None:
    """The kind of personal data that a text holds; None if none is recognised."""
    plain = unicodedata.normalize("NFKC", text)
    if _EMAIL.search(plain):
        return "an e-mail address"
    if any(_luhn(re.sub(r"\D", "", found)) for found in _CARD.findall(plain)):
        return "a card number"
    if any(not re.sub(r"\D", "", found).endswith(_ROUND) for found in _PHONE.findall(plain)):
        return "a phone number"
    return None


def _luhn(digits: str) -> bool:
    """Whether the check digit of a card number is right (ISO/IEC 7812)."""
    total = 0
    for n, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + n % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0
