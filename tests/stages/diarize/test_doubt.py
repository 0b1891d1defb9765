"""Where a turn may hold another voice than its speaker's."""

import numpy as np
import pytest

from schemas.recording import Turn
from stages.diarize.doubt import doubts
from stages.diarize.segmentation import SpeakerActivity

STEP = 0.0625
"""Seconds; 16 frames per second."""


def activity(*others: tuple[int, float, float, float], seconds: float = 10.0) -> SpeakerActivity:
    """One chunk. Local speaker 0 talks alone, except where one of `others` (speaker, start, end, probability)
    does instead."""
    frames = round(seconds / STEP)
    talks = np.zeros((frames, 3))
    talks[:, 0] = 1
    for speaker, start, end, probability in others:
        span = slice(round(start / STEP), round(end / STEP))
        talks[span, 0] = 1 - probability
        talks[span, speaker] = probability
    elsewhere = talks.sum(axis=1, keepdims=True) - talks
    return SpeakerActivity(
        (talks > 0.5)[None],
        elsewhere[None].astype(np.float16),
        np.zeros(1, np.int64),
        np.ones(frames, np.int64),
        STEP,
        0.0,
    )


def turn(start: float, end: float, overlapped: bool = False) -> Turn:
    return Turn(start, end, "0", 0, overlapped)


def test_a_turn_of_one_local_speaker_is_not_in_doubt():
    assert doubts(activity(), [turn(1, 9)], []) == []


def test_another_local_speaker_within_a_turn_is_in_doubt():
    ((start, end),) = doubts(activity((1, 4, 5, 0.9)), [turn(1, 9)], [])
    assert (start, end) == (pytest.approx(4, abs=0.25), pytest.approx(5, abs=0.25))
    assert start < 4
    assert end > 5


def test_the_local_speaker_of_most_of_the_turn_is_its_own():
    ((start, end),) = doubts(activity((1, 2, 9, 1.0)), [turn(1, 9)], [])
    assert (start, end) == (1, pytest.approx(2, abs=0.25))


def test_a_faint_suspicion_is_no_doubt():
    assert doubts(activity((1, 4, 5, 0.2)), [turn(1, 9)], []) == []


def test_overlapped_turns_are_in_no_doubt_as_they_are_set_aside_anyway():
    assert doubts(activity((1, 4, 5, 0.9)), [turn(1, 9, overlapped=True)], []) == []


def test_stretches_with_an_unlocated_change_are_in_doubt_and_united_with_others():
    assert doubts(activity(), [turn(1, 9)], [(2.0, 3.0), (2.5, 4.0), (6.0, 6.5)]) == [(2.0, 4.0), (6.0, 6.5)]
