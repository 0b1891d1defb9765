"""Lyrics with the time of each line (LRC, `.lrc`): `[01:02.50]a line`."""

import re
from collections.abc import Iterator
from itertools import pairwise

from schemas.companions.annotation import UNTIL_THE_END, CompanionEntry, CompanionSegment, has_words
from schemas.recording import UNKNOWN_SPEAKER
from schemas.text_files import lines

_TIME = r"(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)"
_LINE = re.compile(rf"((?:\[{_TIME}\]\s*)+)(.*)")
_LINE_TIME = re.compile(rf"\[{_TIME}\]")
_WORD_TIME = re.compile(rf"<{_TIME}>")
_TAG = re.compile(r"\[([a-z#_]+):(.*)\]\s*", re.IGNORECASE)
"""`[ar:Ann]`, `[offset:+250]`."""


def lrc(text: str) -> Iterator[CompanionEntry]:
    """A segment for each line that is sung, from its time to that of the next one; somebody sings.

    A line may have several times. A time without words ends the line before it, and the last line lasts until
    the end. Of lines with the same time, which are translations of each other, the first is taken.
    """
    offset = 0.0
    timed: list[tuple[float, int, str]] = []
    for at, line in enumerate(lines(text), 1):
        if not line.strip():
            continue
        if tag := _TAG.fullmatch(line.strip()):
            offset = _offset(tag[2]) if tag[1].lower() == "offset" else offset
        elif found := _LINE.fullmatch(line.strip()):
            said = " ".join(_WORD_TIME.sub(" ", found[4]).split())
            timed += [(_seconds(*time.groups()), at, said) for time in _LINE_TIME.finditer(found[1])]
        else:
            yield CompanionEntry(at, "", None, "it has no time: write [minutes:seconds] before the line")
    timed.sort(key=lambda line: line[:2])
    starts = sorted({start for start, _, _ in timed})
    following = dict(pairwise([*starts, UNTIL_THE_END]))
    taken: set[float] = set()
    for start, at, said in timed:
        if not has_words(said):
            continue
        if start in taken:
            yield CompanionEntry(at, "", None, "a line before it has the same time")
            continue
        taken.add(start)
        times = start - offset, following[start] - offset
        yield CompanionEntry(at, "", CompanionSegment(*times, UNKNOWN_SPEAKER, None, said))


def without_times(text: str) -> list[str]:
    """The lines of lyrics that hold words, with or without the times of LRC."""
    sung = (line for line in lines(text) if not _TAG.fullmatch(line.strip()))
    plain = [_WORD_TIME.sub(" ", _LINE_TIME.sub("", line)) for line in sung]
    return [" ".join(line.split()) for line in plain if has_words(line)]


def _seconds(minutes: str, seconds: str) -> float:
    return round(int(minutes) * 60 + float(seconds.replace(":", ".")), 3)


def _offset(milliseconds: str) -> float:
    """Seconds by which lines come earlier than their times say; 0 for anything but a number."""
    try:
        return int(milliseconds) / 1000
    except ValueError:
        return 0.0
