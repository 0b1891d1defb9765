"""Texts in the form in which they are compared: without case, punctuation and ways to write a number."""

import re

from schemas.script import UNSPACED, UNSPACED_LETTER
from stages.synthesize.chinese_numbers import read_numbers
from stages.word_errors import normaliser

_NUMERALS = "零〇一二两三四五六七八九十百千万亿"


def plain(text: str, language: str) -> str:
    """A text to search in. English has its numbers in digits, Chinese in characters and no spaces."""
    if language == "zh":
        return "".join(normaliser("zh")(read_numbers(text)).split())
    return " ".join(normaliser(language)(text).split())


def found(phrase: str, text: str, language: str) -> bool:
    """Whether a phrase is in a text of `plain`, as whole words where there are spaces."""
    return position(phrase, text, language) is not None


def position(phrase: str, text: str, language: str, start: int = 0) -> int | None:
    """Where a phrase ends in a text of `plain`; None if it isn't there after `start`."""
    wanted = plain(phrase, language)
    if not wanted:
        return None
    if language == "zh" and UNSPACED_LETTER.search(wanted):
        at = text.find(wanted, start)
        return None if at < 0 else at + len(wanted)
    match = re.compile(rf"(?<![^\W_]){re.escape(wanted)}(?![^\W_])").search(text, start)
    return match.end() if match else None


def says_number(value: int, text: str, language: str) -> bool:
    """Whether a number is in a text of `plain`, and not only as a part of a larger one."""
    if language != "zh":
        digits = text.replace(",", "")
        return re.search(rf"(?<![\d.]){value}(?!\d|\.\d)", digits) is not None
    names = {plain(str(value), "zh")}
    if value == 2:
        names.add("两")
    elif re.match("二[百千万亿]", next(iter(names))):
        names.add(next(iter(names)).replace("二", "两", 1))
    return any(re.search(rf"(?<![{_NUMERALS}]){name}(?![{_NUMERALS}])", text) for name in names)


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
