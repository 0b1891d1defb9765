"""LRC: each line lasts until the next one begins; what isn't sung is left out."""

import pytest

from schemas.companions import UNTIL_THE_END, CompanionSegment, LineAside, read, without_times
from schemas.errors import DataError

SONG = """[ar:somebody]
[00:01.00]Row, row, row your boat
[00:04.50]gently down the stream
[00:08.00]
[01:02.250]Merrily
"""


def annotation(text):
    return read("lrc", text, "song.lrc", "song.wav")


def line(start, end, text):
    return CompanionSegment(start, end, "somebody", None, text)


def test_a_line_lasts_until_the_next_one_or_an_empty_one_and_the_last_until_the_end():
    found = annotation(SONG)
    assert found.segments == (
        line(1.0, 4.5, "Row, row, row your boat"),
        line(4.5, 8.0, "gently down the stream"),
        line(62.25, UNTIL_THE_END, "Merrily"),
    )
    assert found.aside == found.notes == ()


def test_a_line_with_several_times_is_sung_several_times():
    found = annotation("[00:01.00][00:05.00]chorus\n[00:03.00]verse\n[00:07.00]\n")
    assert found.segments == (line(1.0, 3.0, "chorus"), line(3.0, 5.0, "verse"), line(5.0, 7.0, "chorus"))


def test_a_positive_offset_brings_all_lines_forward():
    found = annotation("[offset:+500]\n[00:01.00]one\n[00:02.00]two\n[00:03.00]\n")
    assert found.segments == (line(0.5, 1.5, "one"), line(1.5, 2.5, "two"))


def test_times_of_words_and_colons_in_times_are_understood():
    found = annotation("[00:01:50]<00:01.50>one <00:02.00>two\n[00:03]\n")
    assert found.segments == (line(1.5, 3.0, "one two"),)


def test_what_is_not_sung_is_left_out():
    found = annotation("[00:00.00](Instrumental)\n[00:01.00]one\n[00:02.00]♪\n[00:03.00]two\n")
    assert found.segments == (line(1.0, 2.0, "one"), line(3.0, UNTIL_THE_END, "two"))


def test_translations_and_lines_without_time_are_set_aside_with_their_number():
    found = annotation("[00:01.00]one\n[00:01.00]eins\nby hand\n[00:02.00]\n")
    assert found.segments == (line(1.0, 2.0, "one"),)
    assert sorted(found.aside, key=lambda aside: aside.line) == [
        LineAside(2, "a line before it has the same time"),
        LineAside(3, "it has no time: write [minutes:seconds] before the line"),
    ]


def test_lyrics_of_which_no_line_has_a_time_are_told():
    with pytest.raises(DataError, match=r"song\.lrc, line 1: it has no time"):
        annotation("just words\n")


def test_lyrics_without_their_times():
    assert without_times(SONG) == ["Row, row, row your boat", "gently down the stream", "Merrily"]
    assert without_times("one\n\n[Chorus]\ntwo") == ["one", "two"]
