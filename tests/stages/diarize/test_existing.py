"""Companion files: RTTM, STM, CTM and JSON lines."""

import pytest

from schemas.errors import DataError
from stages.diarize.existing import CompanionSegment, parse
from tests.paths import RECORDINGS

REFERENCE = RECORDINGS / "reference"


def read(kind: str, text: str, recording: str = "talk") -> list[CompanionSegment]:
    return parse(kind, text, f"talk.{kind}", recording, pause=0.5, longest=30)


def test_an_rttm_gives_speakers_and_times():
    segments = read("rttm", (REFERENCE / "ami_trn05.rttm").read_text())
    assert segments[0] == CompanionSegment(0, 0.384, "FEO079", 1)
    assert [s.start for s in segments] == sorted(s.start for s in segments)
    assert {s.speaker for s in segments} == {"FEE078", "FEE080", "FEE081", "FEO079"}


def test_other_rttm_lines_and_comments_are_skipped():
    text = ";; made by hand\nSPKR-INFO talk 1 <NA> <NA> <NA> unknown A <NA>\n\n"
    assert read("rttm", text + "SPEAKER talk 2 1.5 2 <NA> <NA> A <NA>\n") == [
        CompanionSegment(1.5, 3.5, "A", 2)
    ]


def test_both_formats_of_stm_are_parsed():
    expected = [CompanionSegment(6.68, 7.16, "Diane", 1, "Hello there?")]
    assert read("stm", "talk 1 Diane 6.68 7.16 Hello there?") == expected
    assert read("stm", "talk A Diane 6.68 7.16 <o,f0,female> Hello there?") == expected
    assert (
        read("stm", "talk 1 inter_segment_gap 0 6 <o,,>\ntalk 1 X 7 8 IGNORE_TIME_SEGMENT_IN_SCORING") == []
    )


def test_words_of_a_ctm_are_joined_up_to_pauses():
    words = "talk 1 0.0 0.4 so\ntalk 1 0.5 0.3 it 0.98\ntalk 1 2.0 0.5 goes\n"
    assert read("ctm", words) == [
        CompanionSegment(0, 0.8, "channel_1", 1, "so it"),
        CompanionSegment(2, 2.5, "channel_1", 1, "goes"),
    ]


def test_json_lines_may_have_text_and_other_fields():
    later = '{"start": 1, "end": 2.5, "speaker": "A", "text": "hi", "mood": 3}'
    assert read("jsonl", later + '\n{"start": 0, "end": 1, "speaker": 7}') == [
        CompanionSegment(0, 1, "7", 1),
        CompanionSegment(1, 2.5, "A", 1, "hi"),
    ]


def test_only_the_lines_on_the_recording_are_used():
    text = "SPEAKER talk 1 0 1 <NA> <NA> A <NA>\nSPEAKER other 1 0 2 <NA> <NA> B <NA>\n"
    assert [s.speaker for s in read("rttm", text)] == ["A"]
    with pytest.raises(DataError, match="about 2 recordings, none of them third"):
        read("rttm", text, "third")


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("rttm", "SPEAKER talk 1 0 1", "a SPEAKER line has at least 8 fields, this one 5"),
        ("rttm", "SPEAKER talk 1 x 1 <NA> <NA> A <NA>", "start is 'x', not a number of seconds"),
        ("rttm", "SPEAKER talk 1 nan 1 <NA> <NA> A <NA>", "start is 'nan', not a number of seconds"),
        ("rttm", "SPEAKER talk 1 3 -1 <NA> <NA> A <NA>", "it ends at 2 s, before it starts at 3 s"),
        ("stm", "talk 1 A -1 2 hi", "it starts at -1 s, before the recording"),
        ("stm", "talk left A 1 2 hi", "channel is 'left', not a number from 1 (or A, B)"),
        ("ctm", "talk 1 0.5 hi", "a CTM line has at least 5 fields, this one 4"),
        ("jsonl", '{"start": 1, "end": 2}', "there is no 'speaker'"),
        ("jsonl", '{"start": 1, "end": null, "speaker": "A"}', "end is None, not a number of seconds"),
        ("jsonl", "[1, 2]", "the line is not a JSON object"),
    ],
)
def test_an_invalid_line_is_named(kind, line, message):
    with pytest.raises(DataError) as caught:
        read(kind, f"# first\n{line}\n")
    assert caught.value.code == "bad_companion"
    assert caught.value.message == f"talk.{kind}, line 2: {message}"
