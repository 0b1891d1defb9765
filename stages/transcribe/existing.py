"""Existing word times, from a CTM companion of the recording."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from schemas.errors import DataError
from schemas.recording import Turn, Word


def read_ctm(text: str, tracks: int) -> list[tuple[int, Word]]:
    """(track, word) for the lines of a CTM file, `file channel start duration word [confidence]`, by time.

    Channels are 1, 2, .. or A, B, ... In a recording with a single track, all of them belong to it. Raises
    DataError `bad_ctm` for an invalid line.
    """
    words = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        try:
            start, seconds = float(fields[2]), float(fields[3])
            probability = float(fields[5]) if len(fields) > 5 else 1.0
            words.append((_track(fields[1], tracks), Word(start, start + seconds, fields[4], probability)))
        except (IndexError, ValueError):
            raise DataError(
                "bad_ctm", f"line {number} of the CTM is not 'file channel start duration word': {line[:80]}"
            ) from None
    return sorted(words, key=lambda item: item[1].start)


def _track(channel: str, tracks: int) -> int:
    if tracks == 1:
        return 0
    return int(channel) - 1 if channel.isdigit() else ord(channel[0].upper()) - ord("A")


def words_within(words: Sequence[tuple[int, Word]], turn: Turn) -> tuple[Word, ...]:
    """The words on the turn's track whose midpoint is in the turn; all but the first get a leading space."""
    first = bisect_left(words, turn.start - 10.0, key=lambda item: item[1].start)
    last = bisect_left(words, turn.end, key=lambda item: item[1].start)
    inside = [
        word
        for track, word in words[first:last]
        if track == turn.track and turn.start <= (word.start + word.end) / 2 < turn.end
    ]
    return tuple(replace(word, text=" " * bool(i) + word.text) for i, word in enumerate(inside))
