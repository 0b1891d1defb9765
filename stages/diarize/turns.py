"""Turns from segments: short pauses are merged, overlaps cut out, and long turns split where it is quiet."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from schemas.recording import Problem, Segment, Turn
from stages.diarize.config import DiarizeConfig
from stages.voice_activity import Stretch

SLIVER = 0.02
"""Seconds below which no part is cut off a turn."""

Quietest = Callable[[int, float, float], float]
"""(track, start, end) -> time of the quietest moment between start and end, in seconds."""


def turns_of(
    segments: tuple[Segment, ...],
    config: DiarizeConfig,
    quietest: Quietest,
    doubts: Sequence[Stretch] = (),
) -> tuple[tuple[Turn, ...], tuple[Problem, ...]]:
    """Turns of all tracks in order of start, and problems for those that can't be used.

    Turns are cut at `doubts`, in which another voice may be heard; these parts become turns with a problem.
    """
    turns = [
        part
        for track in sorted({segment.track for segment in segments})
        for turn in joined([s for s in segments if s.track == track], config.merge_pause)
        for part in _split(turn, config, quietest)
    ]
    certain, doubtful = _cut(turns, doubts)
    return with_problems([*certain, *doubtful], config, frozenset(doubtful))


def with_problems(
    turns: list[Turn], config: DiarizeConfig, doubtful: Collection[Turn] = ()
) -> tuple[tuple[Turn, ...], tuple[Problem, ...]]:
    """The turns in order of start, and a problem for each that is overlapped, doubtful or too short."""
    ordered = tuple(sorted(turns, key=lambda turn: (turn.start, turn.track, turn.end, turn.speaker)))
    problems = []
    for index, turn in enumerate(ordered):
        if turn.overlapped:
            problems.append(Problem("overlap", "somebody else speaks at the same time", index))
        elif turn in doubtful:
            problems.append(Problem("several_voices", "another voice may be heard here", index))
        elif turn.seconds < config.min_turn:
            message = f"the turn lasts {turn.seconds:.2f} s, less than {config.min_turn:g} s"
            problems.append(Problem("too_short", message, index))
    return ordered, tuple(problems)


def overlaps(segments: tuple[Segment, ...], slack: float) -> list[bool]:
    """Whether each segment overlaps one of another speaker on its track by more than `slack` seconds."""
    overlapped = [False] * len(segments)
    active: list[int] = []
    for index in sorted(range(len(segments)), key=lambda i: segments[i].start):
        own = segments[index]
        active = [i for i in active if segments[i].end > own.start]
        for i in active:
            other = segments[i]
            common = min(own.end, other.end) - own.start
            if other.track == own.track and other.speaker != own.speaker and common > slack:
                overlapped[i] = overlapped[index] = True
        active.append(index)
    return overlapped


def taking_turns(segments: Sequence[Segment]) -> Iterator[Segment]:
    """The segments of each track without overlaps: who began first has the floor until they end."""
    until: dict[int, float] = {}
    for segment in sorted(segments, key=lambda each: (each.start, -each.end)):
        start = max(segment.start, until.get(segment.track, 0.0))
        if segment.end - start >= SLIVER:
            yield replace(segment, start=start)
            until[segment.track] = segment.end


def joined(segments: list[Segment], pause: float) -> Iterator[Turn]:
    """Turns of one track: segments of a speaker, joined over pauses of up to `pause` seconds.

    Overlapped speech becomes turns of its own.
    """
    parts = _parts(segments)
    last: dict[str, Turn] = {}
    for start, end, speakers in parts:
        for speaker in speakers:
            turn = Turn(start, end, speaker, segments[0].track, overlapped=len(speakers) > 1)
            before = last.get(speaker)
            # If another speaker spoke since then, their turn in `last` ends later.
            others = max((other.end for name, other in last.items() if name != speaker), default=0.0)
            if (
                before is not None
                and before.overlapped == turn.overlapped
                and start - before.end <= (0 if turn.overlapped else pause)
                and (turn.overlapped or others <= before.end)
            ):
                turn = Turn(before.start, end, speaker, turn.track, turn.overlapped)
            elif before is not None:
                yield before
            last[speaker] = turn
    yield from last.values()


def _cut(turns: list[Turn], doubts: Sequence[Stretch]) -> tuple[list[Turn], list[Turn]]:
    """The parts of turns outside and inside of `doubts`, which are sorted and don't overlap."""
    certain: list[Turn] = []
    doubtful: list[Turn] = []
    ends = [end for _, end in doubts]
    for turn in turns:
        at = turn.start
        for start, end in doubts[bisect_right(ends, turn.start) :] if not turn.overlapped else ():
            if start >= turn.end:
                break
            start = start if start - at >= SLIVER else at
            end = end if turn.end - end >= SLIVER else turn.end
            if end - start < SLIVER:
                continue
            if start > at:
                certain.append(replace(turn, start=at, end=start))
            doubtful.append(replace(turn, start=start, end=end))
            at = end
        if at < turn.end:
            certain.append(replace(turn, start=at) if at > turn.start else turn)
    return certain, doubtful


def _parts(segments: list[Segment]) -> Iterator[tuple[float, float, tuple[str, ...]]]:
    """(start, end, speakers) of the stretches between any two changes of who speaks."""
    times = sorted({time for segment in segments for time in (segment.start, segment.end)})
    ordered = sorted(segments, key=lambda segment: segment.start)
    active: list[Segment] = []
    following = 0
    for start, end in pairwise(times):
        active = [segment for segment in active if segment.end > start]
        while following < len(ordered) and ordered[following].start <= start:
            active.append(ordered[following])
            following += 1
        if active:
            yield start, end, tuple(sorted({segment.speaker for segment in active}))


def _split(turn: Turn, config: DiarizeConfig, quietest: Quietest) -> Iterator[Turn]:
    """The turn, in parts of at most `config.max_turn` seconds."""
    start = turn.start
    while turn.end - start > config.max_turn:
        # Early enough that the rest is not too short to keep.
        latest = min(start + config.max_turn, turn.end - max(config.min_turn, 1.0))
        cut = quietest(turn.track, start + config.max_turn / 2, latest)
        yield Turn(start, cut, turn.speaker, turn.track, turn.overlapped, turn.text)
        start = cut
    yield Turn(start, turn.end, turn.speaker, turn.track, turn.overlapped, turn.text)
