"""Inverse text normalisation: numbers in digits, in place of the words that they are spoken as."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase, ascii_uppercase

from schemas.recording import Word

GRAMMARS = {
    "en": {"electronic", "whitelist"},
    "zh": {"time", "whitelist"},
}
"""Language -> what its grammar finds and is left as recognised: web addresses, abbreviations ("a dr."), and
Chinese times of day, which it writes as 03:30:00p.m. The package has Japanese too, with place names in digits
(千葉 as 1000葉)."""
_STRETCH = re.compile(r"[^\W_]+(?:[ '’-][^\W_]+)*")
"""Words without a mark between them. The grammars fail at some marks, and put spaces before others."""
_PLAIN = str.maketrans(ascii_uppercase + "-’", ascii_lowercase + " '")
"""The English grammar knows small letters and spaces only ("Two hundred" is not a number to it)."""


@dataclass(frozen=True)
class _Number:
    start: int
    end: int
    """In characters of the text."""
    written: str


class InverseNormaliser:
    """The grammars of the package wetext (WeTextProcessing), which run on the CPU."""

    def __init__(self) -> None:
        from wetext import Normalizer

        self._grammars = {language: Normalizer(lang=language, operator="itn") for language in GRAMMARS}

    def __call__(self, words: Sequence[Word], language: str) -> tuple[Word, ...]:
        """The words with numbers in digits; unchanged in languages without a grammar.

        The words of a number become one word, from the start of the first to the end of the last and as
        probable as the least probable of them. No other time changes.
        """
        if language not in GRAMMARS:
            return tuple(words)
        text = "".join(word.text for word in words)
        numbers = [number for found in _STRETCH.finditer(text) for number in self._numbers(found, language)]
        groups: list[list[Word]] = []
        at = 0
        for word in words:
            if any(number.start < at < number.end for number in numbers):
                groups[-1].append(word)
            else:
                groups.append([word])
            at += len(word.text)
        return tuple(_merged(groups, numbers))

    def _numbers(self, stretch: re.Match[str], language: str) -> Iterator[_Number]:
        """The numbers of a stretch of words, in order; none if it has digits, as those of a recogniser that
        writes numbers itself."""
        grammar, spoken = self._grammars[language], stretch[0].translate(_PLAIN)
        # Finding where a number was costs ten times as much as writing it.
        if any(map(str.isdigit, spoken)) or grammar.normalize(spoken) == spoken:
            return
        for found in grammar.normalize_with_mapping(spoken).mappings:
            words = stretch[0][found.input_start : found.input_end]
            written = _written(found.token_type, words, found.output_text, language)
            if found.token_type not in GRAMMARS[language] and written:
                at = stretch.start()
                yield _Number(at + found.input_start, at + found.input_end, written)


def _written(kind: str, words: str, written: str, language: str) -> str | None:
    """How a number is written; None if its words are kept."""
    if language == "zh":
        # A character alone is rarely a number (千里), and "thirty or forty" (三四十) is not written 30~40.
        if len(words) == 1 or "~" in written:
            return None
        units, parts = re.findall("[年月日号]", words), written.split("/")
        if kind == "date" and 1 < len(parts) == len(units):  # 2024年3月5日, not 2024/03/05
            return "".join(
                (part if unit == "年" else part.lstrip("0")) + unit
                for part, unit in zip(parts, units, strict=True)
            )
        return written
    # "Second" is a unit of time too, and up to ten numbers are words in any case.
    if kind == "ordinal" and (" " not in words or words.lower().endswith("second")):
        return None
    if kind == "telephone" and not written.isdigit():  # "plan b twelve"
        return None
    written = written.replace(" %", "%")
    return written[0].upper() + written[1:] if words[0].isupper() else written


def _merged(groups: Sequence[Sequence[Word]], numbers: Sequence[_Number]) -> Iterator[Word]:
    """One word for each group, with its numbers in digits."""
    at = 0
    for group in groups:
        text = "".join(word.text for word in group)
        end = at + len(text)
        for number in reversed([number for number in numbers if at <= number.start < end]):
            text = text[: number.start - at] + number.written + text[number.end - at :]
        probability = min(word.probability for word in group)
        yield replace(group[0], end=group[-1].end, text=text, probability=probability)
        at = end
