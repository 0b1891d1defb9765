"""Companions of every kind, read by one reader; what is wrong in them is set aside by line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.companions import KINDS, CompanionSegment, LineAside, read
from schemas.errors import DataError
from schemas.text_files import decoded
from tests.paths import RECORDINGS

REFERENCE = RECORDINGS / "reference"


def annotation(kind, text, recording="calls/talk.wav"):
    return read(kind, text, f"talk.{kind}", recording)


def segments(kind, text, recording="calls/talk.wav"):
    return list(annotation(kind, text, recording).segments)


def row(**fields):
    return json.dumps({"start": 0, "end": 1, "speaker": "A"} | fields, ensure_ascii=False) + "\n"


def test_an_rttm_gives_speakers_and_times():
    found = segments("rttm", (REFERENCE / "ami_trn05.rttm").read_text())
    assert found[0] == CompanionSegment(0, 0.384, "FEO079", "1")
    assert [s.start for s in found] == sorted(s.start for s in found)
    assert {s.speaker for s in found} == {"FEE078", "FEE080", "FEE081", "FEO079"}


def test_an_rttm_need_not_say_who_speaks():
    assert [s.speaker for s in segments("rttm", "SPEAKER talk 1 0 1 <NA> <NA> <NA> <NA>\n")] == ["somebody"]


def test_other_rttm_lines_and_comments_are_skipped():
    text = ";; made by hand\nSPKR-INFO talk 1 <NA> <NA> <NA> unknown A <NA>\n\n"
    assert segments("rttm", text + "SPEAKER talk 2 1.5 2 <NA> <NA> A <NA>\n") == [
        CompanionSegment(1.5, 3.5, "A", "2")
    ]


def test_both_formats_of_stm_are_parsed():
    expected = [CompanionSegment(6.68, 7.16, "Diane", "1", "Hello there?")]
    assert segments("stm", "talk 1 Diane 6.68 7.16 Hello there?") == expected
    assert segments("stm", "talk 1 Diane 6.68 7.16 <o,f0,female> Hello there?") == expected
    gaps = "talk 1 inter_segment_gap 0 6 <o,,>\ntalk 1 X 7 8 IGNORE_TIME_SEGMENT_IN_SCORING"
    assert segments("stm", gaps) == []


def test_channels_are_kept_as_they_are_named():
    lines = "".join(f"talk {name} A {at} {at + 1} hi\n" for at, name in enumerate(("0", "1", "B", "<NA>")))
    assert [s.channel for s in segments("stm", lines)] == ["0", "1", "B", None]
    assert [s.channel for s in segments("jsonl", row() + row(start=0.5, channel=0))] == [None, "0"]


def test_a_ctm_gives_words_with_their_confidence():
    text = (
        ";; a comment\n# another\ntalk 1 0.0 0.4 so <NA>\ntalk 1 0.5 0.3 it 0.98\ntalk 1 2.0 0.0 goes\n"
        "talk 1 2.5 0.2 <eps>\ntalk 1 2.6 0.2 [laughter] 0.9 non-lex\ntalk 1 3.0 0.2 on 0.7 lex Ann\n"
    )
    found = segments("ctm", text)
    assert [(s.text, s.probability, s.speaker) for s in found] == [
        ("so", None, ""), ("it", 0.98, ""), ("goes", None, ""), ("on", 0.7, "Ann")
    ]  # fmt: skip
    assert all(s.word for s in found)


def test_of_the_alternatives_in_a_ctm_the_first_is_read():
    text = (
        "talk 1 * * <ALT_BEGIN>\ntalk 1 0 0.4 one\ntalk 1 * * <ALT>\ntalk 1 0 0.4 won\n"
        "talk 1 * * <ALT_END>\ntalk 1 1 0.4 two\n"
    )
    assert [s.text for s in segments("ctm", text)] == ["one", "two"]


def test_of_the_alternatives_in_an_stm_the_first_is_read():
    text = "talk 1 A 0 1 <o> my { colour / color } { @ / uh } is {red}\n"
    assert segments("stm", text)[0].text.split() == ["my", "colour", "is", "{red}"]


def test_channels_may_be_called_left_and_right():
    text = "talk L A 0 1 hi\ntalk right B 1 2 yo\n"
    assert [s.channel for s in segments("stm", text)] == ["A", "B"]


def test_json_lines_may_have_text_and_other_fields():
    later = row(start=1, end=2.5, text="hi", mood=3)
    assert segments("jsonl", later + row(speaker=7)) == [
        CompanionSegment(0, 1, "7"),
        CompanionSegment(1, 2.5, "A", None, "hi"),
    ]


def test_without_any_speaker_somebody_speaks():
    text = '{"start": 0, "end": 1, "text": "hi"}\n{"start": 2, "end": 3, "text": "yo"}\n'
    assert [s.speaker for s in segments("jsonl", text)] == ["somebody", "somebody"]
    mixed = annotation("jsonl", text + row(start=4, end=5))
    assert [s.speaker for s in mixed.segments] == ["A"]
    assert mixed.aside == (LineAside(1, "there is no 'speaker'"), LineAside(2, "there is no 'speaker'"))


# --- subtitles

SRT = """1
00:00:00,500 --> 00:00:04,500
alpha <i>one</i>
words here

2
00:00:05,000 --> 00:00:10,000 X1:40 X2:600
{\\an8}bravo two
3
00:00:10,500 --> 00:00:14,500
[music]

4
01:00:01,250 --> 01:00:02,000
late
"""


def test_cues_of_an_srt_are_turns_of_somebody():
    assert [(s.start, s.end, s.speaker, s.text) for s in segments("srt", SRT)] == [
        (0.5, 4.5, "somebody", "alpha one words here"),
        (5.0, 10.0, "somebody", "bravo two"),
        (3601.25, 3602.0, "somebody", "late"),
    ]


def test_voices_of_a_vtt_are_speakers():
    text = (
        "WEBVTT - a talk\nKind: captions\n\nNOTE made by hand\nover two lines\n\n"
        "STYLE\n::cue { color: red }\n\n"
        "intro\n00:00.500 --> 00:04.500 align:start\n<v.loud Roger Bingham>Tom &amp; <b>Jerry</b></v>\n\n"
        "01:00:05.000 --> 01:00:06.000\n<v Ann><00:05.100>No <c.red>way</c>\n\n"
        "01:00:07.000 --> 01:00:08.000\nwho?\n"
    )
    assert [(s.start, s.speaker, s.text) for s in segments("vtt", text)] == [
        (0.5, "Roger Bingham", "Tom & Jerry"),
        (3605.0, "Ann", "No way"),
        (3607.0, "somebody", "who?"),
    ]


def test_a_line_of_captions_that_roll_up_is_said_once():
    text = (
        "WEBVTT\nKind: captions\n\n00:00.500 --> 00:02.500 align:start\n \nalpha<00:01.000><c> one</c>\n\n"
        "00:02.500 --> 00:02.510 align:start\nalpha one\n \n\n"
        "00:02.510 --> 00:04.500 align:start\nalpha one\nbravo<00:03.000><c> two</c>\n\n"
    )
    assert [(s.start, s.end, s.text) for s in segments("vtt", text)] == [
        (0.5, 2.5, "alpha one"), (2.51, 4.5, "bravo two")
    ]  # fmt: skip
    twice = "WEBVTT\n\n00:01.000 --> 00:02.000\nYes.\n\n00:02.000 --> 00:03.000\nYes.\n"
    assert [s.text for s in segments("vtt", twice)] == ["Yes.", "Yes."]


def test_a_line_with_only_a_blank_does_not_end_a_cue():
    text = "WEBVTT\n\n00:00.500 --> 00:02.500\n \nalpha<00:01.000><c> one</c>\n"
    assert [s.text for s in segments("vtt", text)] == ["alpha one"]
    spaced = "1\n00:00:00,500 --> 00:00:02,500\nalpha\n \n2\n00:00:03,000 --> 00:00:04,000\nbravo\n \n"
    assert [s.text for s in segments("srt", spaced)] == ["alpha", "bravo"]


@pytest.mark.parametrize(
    ("kind", "cue"),
    [("srt", "- Hello?\n- Hi!"), ("vtt", "<v Ann>Hello?</v>\n<v Bob>Hi!</v>"), ("vtt", "– Hello?\n– Hi!")],
)
def test_a_cue_of_two_voices_is_set_aside(kind, cue):
    found = annotation(kind, f"00:00:01.000 --> 00:00:02.000\n{cue}\n\n00:00:03.000 --> 00:00:04.000\nyes\n")
    assert [s.text for s in found.segments] == ["yes"]
    assert found.aside == (LineAside(1, "two voices speak in one cue, which doesn't say when"),)


def test_a_cue_with_bad_times_and_text_without_a_cue_are_set_aside():
    found = annotation(
        "srt", "1\n00:00:01,0 -> 2\nno arrow\n\n2\n0:x --> 1:y\nbad\n\n3\n0:03.0 --> 0:04.0\nyes\n"
    )
    assert [s.text for s in found.segments] == ["yes"]
    assert [aside.line for aside in found.aside] == [1, 6]


# --- TextGrid

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 15
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "Ann"
        xmin = 0
        xmax = 15
        intervals: size = 2
        intervals [1]:
            xmin = 0.5
            xmax = 4.5
            text = "so ""it"" goes"
        intervals [2]:
            xmin = 4.5
            xmax = 15
            text = ""
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 15
        points: size = 1
        points [1]:
            number = 3
            mark = "click"
    item [3]:
        class = "IntervalTier"
        name = "Bob"
        xmin = 0
        xmax = 15
        intervals: size = 1
        intervals [1]:
            xmin = 5
            xmax = 10
            text = "两 words"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
15
<exists>
3
"IntervalTier"
"Ann"
0
15
2
0.5
4.5
"so ""it"" goes"
4.5
15
""
"TextTier" "clicks" 0 15 1
3
"click"
"IntervalTier" "Bob" 0 15 1
5
10
"两 words"
"""


@pytest.mark.parametrize("text", [LONG, SHORT])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_tiers_of_a_textgrid_are_speakers(text, encoding):
    assert segments("textgrid", decoded(text.encode(encoding))) == [
        CompanionSegment(0.5, 4.5, "Ann", None, 'so "it" goes'),
        CompanionSegment(5.0, 10.0, "Bob", None, "两 words"),
    ]


def test_tiers_of_an_aligner_are_words_of_a_speaker():
    text = SHORT.replace('"Ann"', '"Ann - words"').replace('"Bob"', '"Ann - phones"')
    assert [(s.speaker, s.text, s.word) for s in segments("textgrid", text)] == [
        ("Ann", 'so "it" goes', True)
    ]


def test_what_is_whole_of_a_truncated_textgrid_is_kept():
    found = annotation("textgrid", LONG[: LONG.index("xmax = 10")])
    assert [s.speaker for s in found.segments] == ["Ann"]
    assert found.aside == (LineAside(39, "the file ends in the middle of a tier"),)


def test_a_bad_interval_of_a_textgrid_does_not_shift_those_after_it():
    found = annotation("textgrid", LONG.replace("xmin = 0.5", "xmin = nan"))
    assert [s.speaker for s in found.segments] == ["Bob"]
    assert found.aside == (LineAside(16, "xmin is 'nan', not a number of seconds"),)


# --- one bad line, and the encoding


@pytest.mark.parametrize(
    ("kind", "line", "reason"),
    [
        ("rttm", "SPEAKER talk 1 0 1", "a SPEAKER line has at least 8 fields, this one 5"),
        ("rttm", "SPEAKER talk 1 x 1 <NA> <NA> A <NA>", "start is 'x', not a number of seconds"),
        ("rttm", "SPEAKER talk 1 nan 1 <NA> <NA> A <NA>", "start is 'nan', not a number of seconds"),
        ("rttm", "SPEAKER talk 1 3 -1 <NA> <NA> A <NA>", "it ends at 2 s, before it starts at 3 s"),
        ("rttm", "SPEAKER talk 1 3 0 <NA> <NA> A <NA>", "it lasts no time: it starts and ends at 3 s"),
        ("stm", "talk 1 A -1 2 hi", "it starts at -1 s, before the recording"),
        ("stm", "talk middle A 1 2 hi", "channel is 'middle', not a number (or A, B)"),
        ("ctm", "talk 1 0.5 hi", "a CTM line has at least 5 fields, this one 4"),
        ("ctm", "talk 1 0.5 0.2 hi good", "confidence is 'good', not a number"),
        ("jsonl", '{"start": 1, "end": 2}', "there is no 'speaker'"),
        ("jsonl", '{"start": 1, "end": null, "speaker": "A"}', "end is None, not a number of seconds"),
        ("jsonl", '{"start": true, "end": 2, "speaker": "A"}', "start is True, not a number of seconds"),
        ("jsonl", '{"start": 1, "end": 2, "speaker": ["A"]}', "speaker is ['A'], not a name"),
        ("jsonl", '{"start": 1, "end": 2, "speaker": "A", "text": 3}', "text is 3, not a string"),
        ("jsonl", r'{"start": 1, "end": 2, "speaker": "\ud800"}', "its text is damaged: save it as UTF-8"),
        ("jsonl", "[1, 2]", "the line is not a JSON object"),
    ],
)  # fmt: skip
def test_a_bad_line_is_set_aside_with_its_number_and_the_rest_is_kept(kind, line, reason):
    good = {
        "rttm": "SPEAKER talk 1 5 1 <NA> <NA> B <NA>",
        "stm": "talk 1 B 5 6 yes",
        "ctm": "talk 1 5 1 yes",
        "jsonl": row(start=5, end=6).strip(),
    }[kind]
    found = annotation(kind, f"{good}\n{line}\r\n{good}\n")
    assert {(s.start, s.end) for s in found.segments} == {(5, 6)}
    assert found.aside == (LineAside(2, reason),)


def test_a_file_of_which_no_line_can_be_used_is_refused():
    with pytest.raises(DataError, match=r"talk.stm, line 2: an STM line .* \(and 1 more\)") as caught:
        annotation("stm", "\nso\nwhat\n")
    assert caught.value.code == "bad_companion"


def test_words_beside_a_bad_line_are_known_to_be_incomplete():
    found = annotation("ctm", "talk 1 0 0.4 so\ntalk 1 1 x it\ntalk 1 2 0.4 goes\ntalk 1 3 0.4 on\n")
    assert [s.incomplete for s in found.segments] == [True, True, False]


def test_a_start_just_before_the_recording_is_moved_to_it():
    found = annotation("rttm", "SPEAKER talk 1 -0.010 4.510 <NA> <NA> A <NA>\n")
    assert [(s.start, s.end) for s in found.segments] == [(0, 4.5)]
    assert found.notes == ("1 of its turns start just before the recording: they start at 0",)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_line_feeds_end_lines(separator):
    assert [s.text for s in segments("stm", f"talk 1 A 0 1 one{separator}word\n")] == [f"one{separator}word"]
    spelt = row(text=f"one{separator}word")
    for one in (spelt, spelt.replace(json.dumps(separator)[1:-1], separator)):
        text = one + row(start=2, end=3, text="two")
        assert [s.text for s in segments("jsonl", text)] == [f"one{separator}word", "two"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_line_ends_and_encodings_of_other_systems(end, encoding):
    lines = ["talk 1 Zoë 0 1 schön", "talk 1 B 2 3 ja"]
    found = segments("stm", decoded((end.join(lines) + end).encode(encoding)))
    assert [(s.speaker, s.text) for s in found] == [("Zoë", "schön"), ("B", "ja")]


def test_bytes_of_a_western_encoding_are_read_and_those_of_another_are_set_aside():
    text = "talk 1 A 0 1 schön\ntalk 1 B 2 3 ja\n"
    western = annotation("stm", decoded(text.encode("cp1252")))
    assert [s.text for s in western.segments] == ["schön", "ja"]
    assert western.notes == ("it is not UTF-8 and was read as Windows-1252",)
    other = annotation("stm", decoded(text.replace("schön", "你好").encode("gbk")))
    assert [s.text for s in other.segments] == ["ja"]
    assert [aside.line for aside in other.aside] == [1]


def test_an_empty_file_says_nothing():
    for kind in ("rttm", "stm", "ctm", "jsonl", "srt", "vtt"):
        assert annotation(kind, "").segments == annotation(kind, "\n \n\n").segments == ()


# --- files on several recordings


def test_only_the_lines_on_the_recording_are_used():
    text = "SPEAKER talk 1 0 1 <NA> <NA> A <NA>\nSPEAKER other 1 0 2 <NA> <NA> B <NA>\n"
    found = annotation("rttm", text)
    assert [s.speaker for s in found.segments] == ["A"]
    assert found.notes == ("1 of its lines are on other recordings and were left out",)
    with pytest.raises(DataError, match="about 2 recordings, none of them third"):
        segments("rttm", text, "third.wav")


@pytest.mark.parametrize("name", ["talk", "TALK", "talk.wav", "calls/talk.wav", "calls__talk.wav"])
def test_a_recording_may_be_named_as_tools_and_our_export_do(name):
    text = f"{name} 1 0.7 0.5 right 0.9\nelsewhere 1 0.7 0.5 WRONG 0.9\n"
    assert [s.text for s in segments("ctm", text)] == ["right"]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("rttm", "SPEAKER {} 1 0.5 4 <NA> <NA> A <NA> <NA>\n"),
        ("stm", "{} 1 A 0.5 4.5 <o> hello\n"),
        ("ctm", "{} 1 0.5 4 hello 0.9\n"),
    ],
)
@pytest.mark.parametrize("written", ["my call", "my_call", "My call.wav", "/data/my call.wav"])
def test_a_name_with_blanks_is_one_field(kind, line, written):
    text = line.format(written) + line.format("my call 1") + line.format("elsewhere")
    found = annotation(kind, text, "calls/my call.wav")
    assert [(s.start, s.end) for s in found.segments] == [(0.5, 4.5)]


@pytest.mark.parametrize("name", ["/corpus/talk.wav", "talk.flac", "tapes/talk"])
def test_a_recording_may_be_named_with_another_folder_or_extension(name):
    text = f"{name} 1 0.7 0.5 right 0.9\n/corpus/elsewhere.wav 1 0.7 0.5 WRONG 0.9\n"
    assert [s.text for s in segments("ctm", text)] == ["right"]
    exact = f"{name} 1 0.7 0.5 WRONG 0.9\ntalk 1 0.7 0.5 right 0.9\n"
    assert [s.text for s in segments("ctm", exact)] == ["right"]


def test_a_file_on_one_recording_of_another_name_is_used_with_a_note():
    assert annotation("ctm", "tape_17 1 0 1 yes\n").notes == ("it calls the recording tape_17",)


def test_a_line_that_is_there_twice_is_used_once():
    found = annotation("stm", "talk 1 A 0 1 yes\ntalk 1 B 2 3 no\ntalk 1 A 0 1 yes\n")
    assert [s.text for s in found.segments] == ["yes", "no"]
    assert found.notes == ("1 of its lines say the same as others and were left out",)


STATED = ("WEBVTT", "talk 1 A 0 1 hi", "SPEAKER talk 1 0 1 <NA> <NA> A <NA>", row(), *SRT.split("\n"))
LINES = st.sampled_from((*STATED, *LONG.split("\n")))


@given(st.sampled_from(KINDS), st.lists(LINES | st.text(max_size=40) | st.binary(max_size=12), max_size=12))
def test_whatever_a_file_holds_it_is_read_or_refused(kind, parts):
    data = b"\n".join(part if isinstance(part, bytes) else part.encode("utf-8", "replace") for part in parts)
    try:
        found = annotation(kind, decoded(data))
    except DataError:
        return
    for segment in found.segments:
        assert 0 <= segment.start <= segment.end
        assert f"{segment.speaker}{segment.text}".encode()
