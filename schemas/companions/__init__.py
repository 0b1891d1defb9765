"""Companions: files beside a recording that state who speaks when, what, or both."""

from collections.abc import Iterable

from schemas.companions.annotation import CompanionAnnotation, CompanionSegment, LineAside, spaced
from schemas.companions.reading import read
from schemas.recording import Companion

__all__ = [
    "KINDS",
    "CompanionAnnotation",
    "CompanionSegment",
    "LineAside",
    "by_preference",
    "read",
    "spaced",
]

KINDS = ("stm", "jsonl", "textgrid", "rttm", "ctm", "vtt", "srt")
"""In order of preference: speakers and words, then speakers, then words."""


def by_preference(companions: Iterable[Companion]) -> list[Companion]:
    """The companions that may state turns, the most preferred first."""
    return sorted((c for c in companions if c.kind in KINDS), key=lambda c: (KINDS.index(c.kind), c.uri))
