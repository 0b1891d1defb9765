"""Numbers in Chinese text, as they are read aloud."""

import re

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_GROUPS = ("", "万", "亿", "万亿")

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_COUNTED = "个位次只条张件本天周块家种斤米岁点分小杯碗双辆间层楼遍句群"
"""Words before which a two is 两."""
_SPELLED = re.compile(r"\d+(?:-\d{3,})+|(?<!\d)(?<!\d[.,])(?:0\d+|1\d{10})(?![.,]?\d)")
"""Digits that name something, such as a phone number, one after another."""


def read_numbers(text: str) -> str:
    """The text with its digits as Chinese characters: `3:05` as 三点零五分, `12.5%` as 百分之十二点五."""
    text = re.sub(r"(?<!\d)(\d{1,2})[:：](\d{2})(?!\d)", _time, text)
    text = re.sub(r"\d{4}(?=年)", lambda found: _spelled(found[0]), text)
    text = _SPELLED.sub(lambda found: _spelled(found[0]), text)
    text = re.sub(rf"[¥￥]({_NUMBER})", r"\1元", text)
    text = re.sub(rf"\$({_NUMBER})", r"\1美元", text)
    text = re.sub(rf"({_NUMBER})[%％]", r"百分之\1", text)
    text = re.sub(r"(?<=\d)[~～–-](?=\d)", "到", text)
    text = re.sub(r"(?<![\dA-Za-z])[-−](?=\d)", "负", text)
    text = re.sub(rf"(?<![\d.])2(?=[{_COUNTED}])(?!分之)", "两", text)
    return re.sub(_NUMBER, lambda found: _number(found[0]), text)


def _time(found: re.Match[str]) -> str:
    hour = "两" if found[1] in ("2", "02") else _number(str(int(found[1])))
    minute = int(found[2])
    if not minute:
        return f"{hour}点"
    return f"{hour}点{'零' if minute < 10 else ''}{_number(str(minute))}分"


def _spelled(digits: str) -> str:
    return "".join(_DIGITS[int(digit)] for digit in digits if digit.isdecimal())


def _number(text: str) -> str:
    whole, _, decimals = text.replace(",", "").partition(".")
    return _whole(int(whole)) + (f"点{_spelled(decimals)}" if decimals else "")


def _whole(number: int) -> str:
    """A whole number below 10^16; digits one after another beyond."""
    if number == 0:
        return _DIGITS[0]
    if number >= 10**16:
        return _spelled(str(number))
    text, gap = "", False
    for power in range(3, -1, -1):
        group = number // 10_000**power % 10_000
        if not group:
            gap = bool(text)
            continue
        if text and (gap or group < 1000):
            text += "零"
        text += _below_ten_thousand(group) + _GROUPS[power]
        gap = False
    # Ten to nineteen without the one; two thousand, and so on, with the two that counts things.
    return re.sub("^二(?=[千万亿])", "两", re.sub("^一(?=十)", "", text))


def _below_ten_thousand(number: int) -> str:
    text, gap = "", False
    for power in range(3, -1, -1):
        digit = number // 10**power % 10
        if digit:
            text += ("零" if gap and text else "") + _DIGITS[digit] + _PLACES[power]
        gap = not digit
    return text
