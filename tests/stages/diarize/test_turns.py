"""Segments become turns that contain the speech of a single speaker."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.recording import Segment
from stages.diarize.config import DiarizeConfig
from stages.diarize.turns import overlaps, taking_turns, turns_of


def turns(*segments, **config):
    result, problems = turns_of(tuple(Segment(*s, 0) for s in segments), DiarizeConfig(**config), half)
    return [(t.start, t.end, t.speaker, t.overlapped) for t in result], problems


def half(track: int, start: float, end: float) -> float:
    return (start + end) / 2


def test_short_pauses_of_a_speaker_do_not_end_the_turn():
    assert turns((0, 1, "A"), (1.4, 2, "A"), (2.6, 4, "A"))[0] == [(0, 2, "A", False), (2.6, 4, "A", False)]


def test_turns_are_not_merged_across_another_speaker():
    result, _ = turns((0, 1, "A"), (1, 1.3, "B"), (1.3, 2, "A"), min_turn=0)
    assert result == [(0, 1, "A", False), (1, 1.3, "B", False), (1.3, 2, "A", False)]


def test_an_overlap_is_a_turn_of_each_speaker_with_a_problem():
    result, problems = turns((0, 3, "A"), (2, 5, "B"))
    assert result == [(0, 2, "A", False), (2, 3, "A", True), (2, 3, "B", True), (3, 5, "B", False)]
    assert [(problem.turn, problem.code) for problem in problems] == [(1, "overlap"), (2, "overlap")]


def test_who_began_first_has_the_floor():
    segments = [(0, 3, "A"), (1, 2, "B"), (2.5, 5, "B"), (4, 6, "A")]
    taken = [(s.start, s.end, s.speaker) for s in taking_turns([Segment(*s, 0) for s in segments])]
    assert taken == [(0, 3, "A"), (3, 5, "B"), (5, 6, "A")]


def test_tracks_do_not_interrupt_each_other():
    segments = [Segment(0, 3, "A", 0), Segment(1, 2, "B", 1)]
    assert [*taking_turns(segments)] == segments


def test_turns_are_cut_at_doubts_which_are_set_aside():
    segments = (Segment(0, 5, "A", 0), Segment(6, 8, "B", 0))
    result, problems = turns_of(segments, DiarizeConfig(), half, [(1, 2), (4.8, 6.5), (9, 10)])
    assert [(t.start, t.end, t.speaker) for t in result] == [
        (0, 1, "A"),
        (1, 2, "A"),
        (2, 4.8, "A"),
        (4.8, 5, "A"),
        (6, 6.5, "B"),
        (6.5, 8, "B"),
    ]
    assert [(p.turn, p.code) for p in problems] == [(n, "several_voices") for n in (1, 3, 4)]


def test_no_slivers_are_cut_off():
    segments = (Segment(0, 5, "A", 0),)
    result, _ = turns_of(segments, DiarizeConfig(), half, [(0.01, 1), (2, 2.001), (4, 4.995)])
    assert [(t.start, t.end) for t in result] == [(0, 1), (1, 4), (4, 5)]


def test_overlaps_are_not_cut_at_doubts():
    segments = (Segment(0, 3, "A", 0), Segment(2, 5, "B", 0))
    result, problems = turns_of(segments, DiarizeConfig(), half, [(1.5, 2.5)])
    assert [(t.start, t.end) for t in result if t.overlapped] == [(2, 3), (2, 3)]
    assert [p.code for p in problems] == ["several_voices", "overlap", "overlap"]


def test_segments_on_different_tracks_do_not_overlap():
    segments = (Segment(0, 3, "channel_1", 0), Segment(1, 2, "channel_2", 1))
    result, problems = turns_of(segments, DiarizeConfig(), half)
    assert [turn.seconds for turn in result] == [3, 1]
    assert not problems


def test_a_small_overlap_of_given_segments_is_tolerated():
    segments = tuple(Segment(*s, 0) for s in [(0, 1.05, "A"), (1, 2, "B"), (1.5, 3, "C")])
    assert overlaps(segments, 0.1) == [False, True, True]


times = st.tuples(st.integers(0, 600), st.integers(1, 400), st.sampled_from("ABC"))


@given(st.lists(times, min_size=1, max_size=12), st.sampled_from([0.0, 0.5, 2.0]))
def test_all_speech_is_in_turns_and_no_turn_is_too_long(spans, pause):
    segments = tuple(Segment(s / 10, (s + d) / 10, who, 0) for s, d, who in spans)
    result, problems = turns_of(segments, DiarizeConfig(merge_pause=pause, max_turn=5), half)
    for segment in segments:
        inside = [t for t in result if t.speaker == segment.speaker]
        covered = sum(max(0, min(t.end, segment.end) - max(t.start, segment.start)) for t in inside)
        assert covered == pytest.approx(segment.end - segment.start)
    for a, b in combinations(result, 2):
        if not (a.overlapped and b.overlapped):
            assert a.end <= b.start or b.end <= a.start
    assert all(0 < turn.seconds <= 5 + 1e-9 for turn in result)
    assert {p.turn for p in problems if p.code == "overlap"} == {
        index for index, turn in enumerate(result) if turn.overlapped
    }


@given(st.lists(st.floats(0, 12).map(lambda t: round(t, 3)), max_size=12, unique=True))
def test_the_parts_of_a_turn_are_all_of_it(times):
    times = sorted(times)[: len(times) // 2 * 2]
    doubts = list(zip(times[::2], times[1::2], strict=True))
    result, _ = turns_of((Segment(1, 11, "A", 0),), DiarizeConfig(), half, doubts)
    assert (result[0].start, result[-1].end) == (1, 11)
    assert all(a.end == b.start for a, b in pairwise(result))
    assert all(turn.seconds > 0.019 for turn in result)
