"""Texts in the form in which they are compared: without case, punctuation and ways to write a number."""

import re

from schemas.script import UNSPACED, UNSPACED_LETTER
from stages.synthesize.chinese_numbers import read_numbers
from stages.synthesize.talk.hearing import heard_words
from stages.word_errors import normaliser

_NUMERALS = "零〇一二两三四五六七八九十百千万亿"
_ONES = {"one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
_TENS = {"twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"}
_LARGE = {"hundred", "thousand", "million", "billion"}


def plain(text: str, language: str) -> str:
    """A text to search in. Numbers are words; Chinese has no spaces."""
    if language == "zh":
        return "".join(normaliser("zh")(read_numbers(text)).split())
    if language == "en":
        return " ".join(heard_words(text))
    return " ".join(normaliser(language)(text).split())


def found(phrase: str, text: str, language: str) -> bool:
    """Whether a phrase is in a text of `plain`, as whole words where there are spaces."""
    return position(phrase, text, language) is not None


def position(phrase: str, text: str, language: str, start: int = 0) -> int | None:
    """Where a phrase ends in a text of `plain`; None if it isn't there after `start`."""
    wanted = plain(phrase, language)
    if not wanted:
        return None
    if UNSPACED_LETTER.search(wanted):
        at = text.find(wanted, start)
        return None if at < 0 else at + len(wanted)
    letter = "[A-Za-z0-9]" if language == "zh" else r"[^\W_]"
    match = re.compile(rf"(?<!{letter}){re.escape(wanted)}(?!{letter})").search(text, start)
    return match.end() if match else None


def says_number(value: int, text: str, language: str) -> bool:
    """Whether a number is in a text of `plain`, and not only as a part of a larger one."""
    if language == "zh":
        name = plain(str(value), "zh")
        names = {name, "两"} if value == 2 else {name, re.sub("^二(?=[百千万亿])", "两", name)}
        return any(re.search(rf"(?<![{_NUMERALS}]){each}(?![{_NUMERALS}])", text) for each in names)
    if language != "en":
        return re.search(rf"(?<![\d.]){value}(?!\d|\.\d)", text.replace(",", "")) is not None
    wanted, told = plain(str(value), "en").split(), text.split()
    for start in range(len(told) - len(wanted) + 1):
        end = start + len(wanted)
        before, after = told[max(0, start - 1) : start], told[end : end + 1]
        larger = (wanted[0] in _ONES and _TENS.intersection(before)) or (
            (wanted[-1] in _TENS and _ONES.intersection(after)) or _LARGE.intersection(after)
        )
        if told[start:end] == wanted and not larger:
            return True
    return False


def words(text: str, language: str) -> list[str]:
    """The words of a text; characters where the script has no spaces."""
    return re.findall(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+(?:['’][^\W_{UNSPACED}]+)*", plain(text, language))


def language_of_text(text: str) -> str | None:
    """`zh`, `ja` or `ko` by the script; `latin` for Latin letters; None without letters."""
    han, kana = len(re.findall("[㐀-鿿]", text)), len(re.findall("[぀-ヿ]", text))
    hangul, latin = len(re.findall("[가-힣]", text)), len(re.findall("[A-Za-zÀ-ɏ]+", text))
    most = max(han + kana, hangul, latin)
    if not most:
        return None
    if most == hangul:
        return "ko"
    if most == latin and latin > han + kana:
        return "latin"
    return "ja" if kana > han / 4 else "zh"
