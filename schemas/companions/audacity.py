"""Labels of Audacity (`.txt`): start and end in seconds and a text, with tabs between."""

import re
from collections.abc import Iterator

from schemas.companions.annotation import CompanionEntry, CompanionSegment, number
from schemas.recording import UNKNOWN_SPEAKER
from schemas.text_files import lines

_LABEL = re.compile(r"(-?\d+[.,]\d+)\t(-?\d+[.,]\d+)(?:\t(.*))?")
_FREQUENCIES = "\\\t"
"""Begins the line of a label that has frequencies, which follows it."""


def are_labels(text: str) -> bool:
    """Whether the first line that isn't empty is a label; a text of another kind has the same extension."""
    first = next((line for line in lines(text) if line.strip()), "")
    return _LABEL.fullmatch(first) is not None


def labels(text: str) -> Iterator[CompanionEntry]:
    """A segment for each label; somebody speaks. Nothing of a text that has no labels."""
    if not are_labels(text):
        return
    for at, line in enumerate(lines(text), 1):
        if not line.strip() or line.startswith(_FREQUENCIES):
            continue
        if not (label := _LABEL.fullmatch(line)):
            yield CompanionEntry(at, "", None, "it is no label: start, end and text with tabs between")
            continue
        # Where a comma is the decimal point of the system, Audacity writes it.
        start, end = (number(time.replace(",", "."), "time") for time in label.group(1, 2))
        said = " ".join((label[3] or "").split())
        yield CompanionEntry(at, "", CompanionSegment(start, end, UNKNOWN_SPEAKER, None, said or None))
