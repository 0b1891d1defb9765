"""Companions: files beside a recording that state who speaks when, what, or both."""

from collections.abc import Iterable

from schemas.companions.annotation import (
    UNTIL_THE_END,
    CompanionAnnotation,
    CompanionSegment,
    LineAside,
    spaced,
)
from schemas.companions.clip import CLIP, said_in
from schemas.companions.json_lines import THE_END
from schemas.companions.lyrics import without_times
from schemas.companions.reading import SHORTEST, read
from schemas.recording import Companion

__all__ = [
    "CLIP",
    "KINDS",
    "PERHAPS",
    "SHORTEST",
    "THE_END",
    "UNTIL_THE_END",
    "CompanionAnnotation",
    "CompanionSegment",
    "LineAside",
    "by_preference",
    "read",
    "said_in",
    "spaced",
    "without_times",
]

KINDS = ("stm", "jsonl", "textgrid", "eaf", "rttm", "ctm", "vtt", "srt", "lrc", "txt")
"""In order of preference: speakers and words, then speakers, then words."""

PERHAPS = (CLIP, "txt")
"""Kinds of files that are companions only if they say what is spoken."""


_PREFERRED = (*KINDS, CLIP)


def by_preference(companions: Iterable[Companion]) -> list[Companion]:
    """The companions that may state turns, the most preferred first."""
    known = (c for c in companions if c.kind in _PREFERRED)
    return sorted(known, key=lambda c: (_PREFERRED.index(c.kind), c.uri))
