"""Praat's TextGrid, long and short: every tier of intervals is a speaker.

In both forms, only values that stand free count (Praat's manual, "TextGrid file formats"): quoted texts,
numbers and flags. All other words, such as `xmin =` and `intervals [1]:`, are for readers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.companions.annotation import CompanionEntry, CompanionSegment, number

_VALUE = re.compile(
    r'"((?:[^"]|"")*)"|(?<!\S)(-?(?:\d|\.\d)\S*|<\w+>|-?(?:nan|inf)|--undefined--)(?!\S)|(?<!\S)![^\n]*',
    re.IGNORECASE,
)
_SILENCE = {"", "sil", "sp", "<sil>", "<eps>", "<p:>", "#"}
_WORDS = re.compile(r"(?:(.+?)\s*[-–_:]\s*)?words?", re.IGNORECASE)
_PARTS_OF_WORDS = re.compile(
    r"(?:.+[-–_:]\s*)?(phones?|phonemes?|segments?|syllables?|mau|kan)", re.IGNORECASE
)
"""Names that aligners give to tiers with words of a speaker, and with parts of them."""


def textgrid(text: str) -> Iterator[CompanionEntry]:
    """The intervals with text of every tier; the name of the tier is the speaker's."""
    if "ooBinary" in text[:100]:
        yield CompanionEntry(1, "", None, "it is a binary TextGrid: save it as a text file")
        return
    values = _Values(text)
    try:
        if [values.next() for _ in range(2)][1] != "TextGrid":
            raise ValueError("it is not a TextGrid")
        values.seconds("xmin"), values.seconds("xmax"), values.next()
        for _ in range(values.count("tiers")):
            yield from _tier(values)
    except (ValueError, EOFError) as error:
        yield CompanionEntry(values.line, "", None, str(error))


def _tier(values: "_Values") -> Iterator[CompanionEntry]:
    kind, name = values.next(), values.next().strip()
    values.seconds("xmin"), values.seconds("xmax")
    words = _WORDS.fullmatch(name)
    for _ in range(values.count("intervals")):
        at = values.after()
        start = values.next()
        end = values.next() if kind == "IntervalTier" else start
        said = " ".join(values.next().split())
        if kind != "IntervalTier" or said.casefold() in _SILENCE or _PARTS_OF_WORDS.fullmatch(name):
            continue
        try:
            times = number(start, "xmin"), number(end, "xmax")
        except ValueError as error:
            yield CompanionEntry(at, "", None, str(error))
            continue
        speaker = (words[1] or name) if words else name
        yield CompanionEntry(at, "", CompanionSegment(*times, speaker, None, said, word=words is not None))


@dataclass
class _Found:
    value: str
    line: int


class _Values:
    """The values that stand free, one after the other. Raises EOFError at their end."""

    def __init__(self, text: str) -> None:
        self.line = 1
        self._found = self._each(text)
        self._ahead: _Found | None = None

    @staticmethod
    def _each(text: str) -> Iterator[_Found]:
        line, last = 1, 0
        for match in _VALUE.finditer(text):
            line += text.count("\n", last, match.start())
            last = match.start()
            if match[1] is not None:
                yield _Found(match[1].replace('""', '"'), line)
            elif match[2] is not None:
                yield _Found(match[2], line)

    def after(self) -> int:
        """The line of the next value."""
        self._ahead = self._ahead or self._following()
        return self._ahead.line

    def next(self) -> str:
        found = self._ahead or self._following()
        self._ahead = None
        self.line = found.line
        return found.value

    def _following(self) -> _Found:
        for found in self._found:
            return found
        raise EOFError("the file ends in the middle of a tier")

    def seconds(self, field: str) -> float:
        return number(self.next(), field)

    def count(self, field: str) -> int:
        value = self.next()
        if not value.isdigit():
            raise ValueError(f"the number of {field} is {value!r}")
        return int(value)
