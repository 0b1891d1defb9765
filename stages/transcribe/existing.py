"""Existing word times, from a CTM companion of the recording."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from schemas.companions import CompanionAnnotation, CompanionSegment, spaced
from schemas.recording import Turn, Word

_LONGEST_WORD = 10.0
"""Seconds before a turn in which a word that reaches into it may start."""


def words_of_turns(
    annotation: CompanionAnnotation, turns: Sequence[Turn], live: Collection[int]
) -> dict[int, tuple[Word, ...]]:
    """The words whose middle is in each of the `live` turns, by index; all but the first with a space.

    Files number channels differently, so a channel belongs to the track whose turns hold most of its words. A
    file with one channel for several tracks doesn't say whose a word is: turns of two tracks that share words
    are left out. So are turns that lack a word, because its line was set aside.
    """
    said = annotation.segments
    inside = {index: _inside(said, turns[index]) for index in live}
    track_of = _tracks(inside, turns)
    one_channel = len({word.channel for word in said}) < 2
    tracks_of_word: dict[int, set[int]] = defaultdict(set)
    for index, found in inside.items():
        for at, _ in found:
            tracks_of_word[at].add(turns[index].track)
    words: dict[int, tuple[Word, ...]] = {}
    for index, found in inside.items():
        if one_channel and any(len(tracks_of_word[at]) > 1 for at, _ in found):
            continue
        own = [w for _, w in found if one_channel or track_of.get(w.channel) == turns[index].track]
        if not any(word.incomplete for word in own):
            words[index] = spaced(own)
    return words


def _inside(words: Sequence[CompanionSegment], turn: Turn) -> list[tuple[int, CompanionSegment]]:
    """(position, word) of the words whose middle is in a turn."""
    first = bisect_left(words, turn.start - _LONGEST_WORD, key=lambda word: word.start)
    last = bisect_left(words, turn.end, key=lambda word: word.start)
    return [
        (at, words[at])
        for at in range(first, last)
        if turn.start <= (words[at].start + words[at].end) / 2 < turn.end
    ]


def _tracks(
    inside: dict[int, list[tuple[int, CompanionSegment]]], turns: Sequence[Turn]
) -> dict[str | None, int]:
    """The track that each channel of the file means."""
    counts: dict[str | None, Counter[int]] = defaultdict(Counter)
    for index, found in inside.items():
        for _, word in found:
            counts[word.channel][turns[index].track] += 1
    if {turn.track for turn in turns} == {0}:
        return dict.fromkeys(counts, 0)
    return {name: min(of, key=lambda track: (-of[track], track)) for name, of in counts.items()}
