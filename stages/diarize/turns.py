"""From segments to turns: pauses merged, overlaps cut out, long ones split where it is quiet."""

from collections.abc import Callable, Iterator
from itertools import pairwise

from schemas.recording import Problem, Segment, Turn
from stages.diarize.config import DiarizeConfig

Quietest = Callable[[int, float, float], float]
"""(track, start, end) -> the quietest moment between two times, all in seconds."""


def turns_of(
    segments: tuple[Segment, ...], config: DiarizeConfig, quietest: Quietest
) -> tuple[tuple[Turn, ...], tuple[Problem, ...]]:
    """Turns of all tracks in order of start, with the problems of those that can't be used."""
    turns = [
        turn
        for track in sorted({segment.track for segment in segments})
        for turn in _of_track([s for s in segments if s.track == track], config, quietest)
    ]
    return with_problems(turns, config)


def with_problems(turns: list[Turn], config: DiarizeConfig) -> tuple[tuple[Turn, ...], tuple[Problem, ...]]:
    """The turns in order, and a problem for each overlapped or too short one."""
    ordered = tuple(sorted(turns, key=lambda turn: (turn.start, turn.track, turn.end, turn.speaker)))
    problems = []
    for index, turn in enumerate(ordered):
        if turn.overlapped:
            problems.append(Problem("overlap", "somebody else speaks at the same time", index))
        elif turn.seconds < config.min_turn:
            message = f"the turn lasts {turn.seconds:.2f} s, less than {config.min_turn:g} s"
            problems.append(Problem("too_short", message, index))
    return ordered, tuple(problems)


def overlaps(segments: tuple[Segment, ...], slack: float) -> list[bool]:
    """For each segment whether another speaker's on its track has more than `slack` seconds in common."""
    found = [False] * len(segments)
    going: list[int] = []
    for index in sorted(range(len(segments)), key=lambda i: segments[i].start):
        own = segments[index]
        going = [i for i in going if segments[i].end > own.start]
        for i in going:
            other = segments[i]
            common = min(own.end, other.end) - own.start
            if other.track == own.track and other.speaker != own.speaker and common > slack:
                found[i] = found[index] = True
        going.append(index)
    return found


def _of_track(segments: list[Segment], config: DiarizeConfig, quietest: Quietest) -> Iterator[Turn]:
    parts = _parts(segments)
    last: dict[str, Turn] = {}
    for start, end, speakers in parts:
        for speaker in speakers:
            turn = Turn(start, end, speaker, segments[0].track, overlapped=len(speakers) > 1)
            before = last.get(speaker)
            # Whoever else spoke since then is in `last` with a later end.
            heard = max((other.end for name, other in last.items() if name != speaker), default=0.0)
            if (
                before is not None
                and before.overlapped == turn.overlapped
                and start - before.end <= (0 if turn.overlapped else config.merge_pause)
                and (turn.overlapped or heard <= before.end)
            ):
                turn = Turn(before.start, end, speaker, turn.track, turn.overlapped)
            elif before is not None:
                yield from _split(before, config, quietest)
            last[speaker] = turn
    for turn in last.values():
        yield from _split(turn, config, quietest)


def _parts(segments: list[Segment]) -> Iterator[tuple[float, float, tuple[str, ...]]]:
    """Stretches in which the same people speak."""
    times = sorted({time for segment in segments for time in (segment.start, segment.end)})
    ordered = sorted(segments, key=lambda segment: segment.start)
    going: list[Segment] = []
    ahead = 0
    for start, end in pairwise(times):
        going = [segment for segment in going if segment.end > start]
        while ahead < len(ordered) and ordered[ahead].start <= start:
            going.append(ordered[ahead])
            ahead += 1
        if going:
            yield start, end, tuple(sorted({segment.speaker for segment in going}))


def _split(turn: Turn, config: DiarizeConfig, quietest: Quietest) -> Iterator[Turn]:
    """The turn in parts of at most the longest length."""
    start = turn.start
    while turn.end - start > config.max_turn:
        # Not so late that the rest would be too short to keep.
        latest = min(start + config.max_turn, turn.end - max(config.min_turn, 1.0))
        cut = quietest(turn.track, start + config.max_turn / 2, latest)
        yield Turn(start, cut, turn.speaker, turn.track, turn.overlapped, turn.text)
        start = cut
    yield Turn(start, turn.end, turn.speaker, turn.track, turn.overlapped, turn.text)
