"""Personal data in text: e-mail addresses, phone numbers, card numbers.

Phone numbers are recognised by their written form, not only by the number of digits, because lists of years,
dates, prices and counts have as many. Numbers spelled out in words ("five five five") are not recognised.
"""

import re
import unicodedata

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_CARD = re.compile(
    r"(?<![\d.,])(?=2[2-7]|3[04-9]|4|5[0-8]|6)"  # prefixes of card schemes, which exclude years and ISBNs
    r"\d{4}[ -]?(?:\d{6}[ -]?\d{4,5}|\d{4}[ -]?\d{4}[ -]?\d{1,4}(?:[ -]?\d{1,3})?)(?![\d.,]*\d)"
)

_DIGIT = r"(?:[ ./()-]{0,3}\d)"
_DATE = r"\d{1,2}[ ./-]\d{1,2}[ ./-](?:19|20)\d\d(?!\d)"
_COUNT_CONTINUATION = r"(?<=\d )\d{3}(?: \d{3})+(?! ?\d)"  # 12 045 678 901
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
    rf"(?<![\d.,A-Za-z_$€£¥-])(?!{_COUNT_CONTINUATION})(?:{'|'.join(_PHONE_FORMS)})"
    r"(?![\dA-Za-z_]|[.,]\d)(?! ?[$€£¥%])"
)
_ROUND_ENDING = "000000"
"""A number with this ending is a count, not a phone number."""


def personal(text: str) -> str | None:
    """The kind of personal data in a text, or None if none is recognised."""
    plain = unicodedata.normalize("NFKC", text)
    if _EMAIL.search(plain):
        return "an e-mail address"
    if any(_luhn_valid(re.sub(r"\D", "", match)) for match in _CARD.findall(plain)):
        return "a card number"
    if any(not re.sub(r"\D", "", match).endswith(_ROUND_ENDING) for match in _PHONE.findall(plain)):
        return "a phone number"
    return None


def _luhn_valid(digits: str) -> bool:
    """Whether the check digit of a card number is correct (Luhn algorithm, ISO/IEC 7812)."""
    total = 0
    for n, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + n % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0
