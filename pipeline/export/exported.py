"""What an export has written and left out."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass


@dataclass
class Exported:
    recordings: int = 0
    """Recordings of which turns were written."""
    turns: int = 0
    samples: int = 0
    """Of formats of samples."""
    renamed: int = 0
    """Recordings with another name in RTTM, STM, CTM or Kaldi than elsewhere, as fields have no spaces."""
    without_text: int = 0
    """Turns left out because the format has no place for one without text."""
    without_words: int = 0
    """Turns left out of CTM because the times of their words aren't known."""
    documents: int = 0
    """Samples left out of chats because they have no roles."""
    not_two_speakers: int = 0
    """Recordings left out of moshi, which has two speakers."""
    off_clock: int = 0
    """Recordings that start late or have gaps on the container's clock, which turns are timed by."""

    @classmethod
    def total(cls, parts: Iterable["Exported"]) -> "Exported":
        return cls(*map(sum, zip(*map(astuple, parts), strict=True)))
