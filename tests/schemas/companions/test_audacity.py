"""Audacity's labels: one for each line. Another text has the same extension and says nothing."""

import pytest

from schemas.companions import UNTIL_THE_END, CompanionSegment, LineAside, read
from schemas.errors import DataError


def annotation(text, kind="txt"):
    return read(kind, text, "talk.txt", "talk.wav")


def label(start, end, text):
    return CompanionSegment(start, end, "somebody", None, text)


def test_labels_are_segments_of_somebody():
    found = annotation("0.500000\t1.750000\thello\tthere\n\n1.750000\t2.250000\t\n3.0\t4.0\n")
    assert found.segments == (label(0.5, 1.75, "hello there"), label(1.75, 2.25, None), label(3.0, 4.0, None))
    assert found.aside == found.notes == ()


def test_frequencies_of_a_label_are_left_out():
    found = annotation("0.5\t1.5\tcough\n\\\t1200.000000\t2400.000000\n")
    assert found.segments == (label(0.5, 1.5, "cough"),)


def test_times_may_have_a_comma():
    assert annotation("0,500000\t1,750000\thallo\n").segments == (label(0.5, 1.75, "hallo"),)


def test_lines_that_are_no_labels_are_set_aside():
    found = annotation("0.5\t1.5\tone\nnotes\n1.5\t1.5\tpoint\n2.5\t2.0\tback\n")
    assert found.segments == (label(0.5, 1.5, "one"),)
    assert found.aside == (
        LineAside(2, "it is no label: start, end and text with tabs between"),
        LineAside(3, "it lasts no time: it starts and ends at 1.5 s"),
        LineAside(4, "it ends at 2 s, before it starts at 2.5 s"),
    )


def test_labels_of_which_none_can_be_used_are_told():
    with pytest.raises(DataError, match=r"talk\.txt, line 1: it lasts no time"):
        annotation("1.5\t1.5\tpoint\n")


@pytest.mark.parametrize("text", ["", "\n", "Licence: CC0\n", "1\t2\twhole numbers\n", "0.5 1.5 blanks\n"])
def test_another_text_says_nothing(text):
    assert annotation(text).segments == ()


def test_the_text_of_a_clip_in_an_archive_may_be_labels():
    assert annotation("0.5\t1.5\tone\n", "clip").segments == (label(0.5, 1.5, "one"),)
    assert annotation("just words\n", "clip").segments == (label(0.0, UNTIL_THE_END, "just words"),)
