"""The funnel of songs adds up, in the order in which turns are set aside."""

import pytest

from pipeline.report.songs import song_funnel

SECONDS = {
    "audio": 100.0,
    "select/poor_quality": 10.0,
    "select/other_text": 20.0,
    "transcribe/no_words": 5.0,
    "select/overlapped": 15.0,
    "kept": 30.0,
}


def test_the_steps_are_those_of_the_checks_and_end_with_what_is_kept():
    steps = song_funnel(SECONDS)
    assert [(step.reason, step.aside) for step in steps] == [
        ("no turn", 20.0),
        ("transcribe/no_words", 5.0),
        ("select/overlapped", 15.0),
        ("select/other_text", 20.0),
        ("select/poor_quality", 10.0),
    ]
    assert [step.left for step in steps] == pytest.approx([80.0, 75.0, 60.0, 40.0, 30.0])


def test_without_songs_there_is_no_funnel():
    assert song_funnel({}) == []
