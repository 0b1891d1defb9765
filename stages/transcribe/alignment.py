"""Words with times, from what recognisers tell about them."""

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate

from schemas.recording import Word
from schemas.script import UNSPACED

_WORD = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}]+)[^\w\s]*")


def spread(text: str, seconds: float) -> tuple[Word, ...]:
    """The words of a text, spread over a window of some seconds in proportion to their lengths.

    A character of a script without spaces is a word.
    """
    words = _WORD.findall(text.strip())
    ends = [0, *accumulate(map(len, words))]
    scale = seconds / max(1, ends[-1])
    return tuple(
        Word(start * scale, end * scale, word, 1.0)
        for word, start, end in zip(words, ends, ends[1:], strict=False)
    )


def joined(pieces: Iterable[tuple[str, float, float, float]]) -> tuple[Word, ...]:
    """Words from the pieces (text, start, end, probability) of a recogniser that spells them.

    A space starts a word, and so does a character of a script without spaces.
    """
    words: list[Word] = []
    counts: list[int] = []
    for text, start, end, probability in pieces:
        if words and not re.match(rf"[\s{UNSPACED}]", text):
            last = words[-1]
            mean = (last.probability * counts[-1] + probability) / (counts[-1] + 1)
            words[-1] = Word(last.start, max(last.end, end), last.text + text, mean)
            counts[-1] += 1
        elif text.strip():
            words.append(Word(start, max(start, end), text if words else text.lstrip(), probability))
            counts.append(1)
        elif text:  # the space alone: it starts the next word
            words.append(Word(end, end, text, 1.0))
            counts.append(0)
    return tuple(word for word in words if word.text.strip())


def timed(text: str, times: Sequence[tuple[str, float, float]]) -> tuple[Word, ...] | None:
    """The words (word, start, end) of a text with its punctuation; None if they aren't those of the text."""
    folded, at = text.casefold(), 0
    if len(folded) != len(text):
        return None
    starts: list[int] = []
    for word, _, _ in times:
        place = folded.find(word.strip().casefold(), at)
        if place < 0:
            return None
        starts.append(place)
        at = place + len(word.strip())
    if not starts:
        return None
    # A word takes what follows it, up to the space before the next one.
    cuts = [0, *(start - len(text[:start]) + len(text[:start].rstrip()) for start in starts[1:]), len(text)]
    return tuple(
        Word(float(start), max(float(start), float(end)), text[cuts[k] : cuts[k + 1]], 1.0)
        for k, (_, start, end) in enumerate(times)
    )
