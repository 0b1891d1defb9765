"""Segments and turns that a companion states, instead of the models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from schemas.companions import SHORTEST, UNTIL_THE_END, CompanionAnnotation, CompanionSegment, spaced
from schemas.errors import DataError
from schemas.recording import UNKNOWN_SPEAKER, DecodedAudio, Problem, Segment, Turn, Word
from stages.diarize.config import DiarizeConfig
from stages.diarize.given_channels import Read, tracks_of
from stages.diarize.turns import Quietest, overlaps, turns_of, with_problems

END_TOLERANCE = 0.5
"""Seconds by which a segment with text may exceed the recording; it then ends with it."""
OVERLAP_TOLERANCE = 0.1
"""Seconds by which turns with existing text may overlap before they count as overlapped."""
MOST_OUTSIDE = 0.5
"""Share of its speech that a companion may have after the end, before it is one of another recording."""

_NO_SOUND = ("after_the_end", "other_channel")


@dataclass(frozen=True)
class GivenTurns:
    """The turns of a companion, in order of start, with a problem for each that can't be used."""

    segments: tuple[Segment, ...]
    turns: tuple[Turn, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def heard(self) -> tuple[Turn, ...]:
        """The turns whose sound there is."""
        silent = {problem.turn for problem in self.problems if problem.code in _NO_SOUND}
        return tuple(turn for index, turn in enumerate(self.turns) if index not in silent)


@dataclass(frozen=True)
class _Placed:
    """A segment of the companion on its track; `problem` is set if it can't be used."""

    segment: Segment
    text: str | None
    words: tuple[Word, ...]
    problem: Problem | None = None


def given_turns(
    annotation: CompanionAnnotation,
    name: str,
    decoded: DecodedAudio,
    config: DiarizeConfig,
    read: Read,
    quietest: Quietest,
) -> GivenTurns:
    """The turns that an annotation states. Raises DataError if it has none, or those of another recording."""
    if not annotation.segments:
        raise DataError("no_speech", f"{name} contains no speech")
    _check_length(annotation.segments, name, decoded)
    annotation = _with_end(annotation, decoded)
    tracks, notes = tracks_of(annotation.segments, decoded, read)
    placed = sorted(
        _placed(annotation.segments, tracks, decoded, config),
        key=lambda p: (p.segment.start, p.segment.track, p.segment.end, p.segment.speaker),
    )
    inside = [p for p in placed if p.problem is None]
    segments = tuple(p.segment for p in inside)
    if any(p.text for p in placed):
        overlapped = overlaps(segments, OVERLAP_TOLERANCE)
        turns, problems = with_problems(
            [_turn(p, over) for p, over in zip(inside, overlapped, strict=True)], config
        )
    else:
        turns, problems = turns_of(segments, config, quietest)
    turns, problems = _with_aside(turns, problems, [p for p in placed if p.problem])
    return GivenTurns(segments, turns, problems, (*annotation.notes, *notes, *_clamped(annotation, decoded)))


def _with_end(annotation: CompanionAnnotation, decoded: DecodedAudio) -> CompanionAnnotation:
    """The annotation with the end of the recording where it says "until the end"."""
    segments = tuple(
        replace(s, end=max(s.start, decoded.seconds)) if s.end == UNTIL_THE_END else s
        for s in annotation.segments
    )
    return replace(annotation, segments=segments)


def _check_length(segments: Sequence[CompanionSegment], name: str, decoded: DecodedAudio) -> None:
    """Raise DataError if most of the speech is after the end, unless the recording itself is damaged."""
    late = [s for s in segments if s.start >= decoded.seconds]
    outside = sum(s.end - s.start for s in late)
    damaged = any(note.kind in ("damage", "truncated") for note in decoded.notes)
    if not late or (damaged and len(late) < len(segments)):
        return
    if outside > MOST_OUTSIDE * sum(s.end - s.start for s in segments):
        raise DataError(
            "bad_companion",
            f"{name} has speech at {late[0].start:g} s, but the recording ends at {decoded.seconds:.1f} s",
        )


def _placed(
    segments: Sequence[CompanionSegment],
    tracks: Sequence[int | None],
    decoded: DecodedAudio,
    config: DiarizeConfig,
) -> Iterator[_Placed]:
    """The segments on their tracks, words joined; those that can't be used with their problem."""
    words: dict[tuple[int, str], list[CompanionSegment]] = {}
    several = len({segment.channel for segment in segments}) > 1
    for segment, track in zip(segments, tracks, strict=True):
        named = replace(
            segment, speaker=segment.speaker or _speaker_of_channel(segment, track, several, decoded)
        )
        if track is None:
            problem = Problem(
                "other_channel",
                f"it is on channel {segment.channel}, which was not kept: set `decode.channels: split`",
            )
            yield _Placed(_segment(named, 0), segment.text, (), problem)
        elif segment.word:
            words.setdefault((track, named.speaker), []).append(named)
        else:
            yield _limited(named, track, (), decoded)
    for (track, _), of in words.items():
        for joined, own in _joined(of, config.merge_pause, config.max_turn):
            yield _limited(joined, track, own, decoded)


def _speaker_of_channel(
    segment: CompanionSegment, track: int | None, several: bool, decoded: DecodedAudio
) -> str:
    """The speaker of a file that only names channels: of one channel of one track nobody knows who speaks."""
    if decoded.tracks > 1:
        return f"channel_{(track or 0) + 1}"
    return f"channel_{segment.channel}" if several else UNKNOWN_SPEAKER


def _limited(
    segment: CompanionSegment, track: int, words: tuple[Word, ...], decoded: DecodedAudio
) -> _Placed:
    """A segment that ends with the recording, or its problem if too much of it is after the end."""
    end = decoded.seconds
    excess = segment.end - end
    if segment.start >= end or (segment.text and excess > END_TOLERANCE):
        message = (
            f"it lasts from {segment.start:g} to {segment.end:g} s, but the recording ends at {end:.1f} s"
        )
        return _Placed(_segment(segment, track), segment.text, words, Problem("after_the_end", message))
    problem = (
        Problem("too_short", "its words last no time") if segment.end - segment.start < SHORTEST else None
    )
    return _Placed(_segment(replace(segment, end=min(segment.end, end)), track), segment.text, words, problem)


def _segment(segment: CompanionSegment, track: int) -> Segment:
    return Segment(round(segment.start, 3), round(segment.end, 3), segment.speaker, track)


def _turn(placed: _Placed, overlapped: bool) -> Turn:
    s = placed.segment
    return Turn(s.start, s.end, s.speaker, s.track, overlapped, placed.text, placed.words)


def _with_aside(
    turns: Sequence[Turn], problems: Sequence[Problem], aside: Sequence[_Placed]
) -> tuple[tuple[Turn, ...], tuple[Problem, ...]]:
    """The turns, and the segments that can't be used as turns among them, with the problems of both."""
    of_turn = {problem.turn: problem for problem in problems}
    both = [(turn, of_turn.get(index)) for index, turn in enumerate(turns)]
    both += [(_turn(placed, overlapped=False), placed.problem) for placed in aside]
    both.sort(key=lambda item: (item[0].start, item[0].track, item[0].end, item[0].speaker))
    return tuple(turn for turn, _ in both), tuple(
        replace(problem, turn=index) for index, (_, problem) in enumerate(both) if problem
    )


def _joined(
    words: Sequence[CompanionSegment], pause: float, longest: float
) -> Iterator[tuple[CompanionSegment, tuple[Word, ...]]]:
    """Segments joined from words of one speaker, which end at pauses and after `longest` seconds."""
    group: list[CompanionSegment] = []
    for word in words:
        if group and (
            word.start - max(w.end for w in group[-3:]) > pause or word.end - group[0].start > longest
        ):
            yield _as_one(group)
            group = []
        group.append(word)
    if group:
        yield _as_one(group)


def _as_one(words: Sequence[CompanionSegment]) -> tuple[CompanionSegment, tuple[Word, ...]]:
    """The segment of some words; without text if one of them is missing, so that the model hears it."""
    timed = spaced(words)
    complete = not any(word.incomplete for word in words)
    text = "".join(word.text for word in timed) if complete else None
    joined = replace(words[0], end=max(word.end for word in words), text=text, word=False)
    return joined, timed if complete else ()


def _clamped(annotation: CompanionAnnotation, decoded: DecodedAudio) -> list[str]:
    """A note on the segments that were shortened to end with the recording."""
    excess = [
        s.end - decoded.seconds
        for s in annotation.segments
        if s.start < decoded.seconds < s.end - 0.01
        and not (s.text and s.end - decoded.seconds > END_TOLERANCE)
    ]
    if not excess:
        return []
    return [f"{len(excess)} of its turns end up to {max(excess):.2f} s after the recording: they end with it"]
