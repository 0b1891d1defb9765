"""Turns that companions state: from the right channel, within the recording, one bad line at a time."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile as sf

from schemas.companions import CompanionSegment, read
from schemas.errors import DataError
from stages.diarize.config import DiarizeConfig
from stages.diarize.given import given_turns
from stages.diarize.given_channels import tracks_of
from tests.paths import RECORDINGS
from tests.stages.annotated import DECODED

RATE = 16_000
MONOLOGUES = RECORDINGS / "demo/monologues"
TURNS = [("A", 0.5, 4.5, "alpha one"), ("B", 5.0, 9.0, "bravo two"), ("A", 9.5, 13.5, "alpha three")]
SECONDS = 14.0


def voice(name: str, seconds: float) -> np.ndarray:
    samples, rate = sf.read(MONOLOGUES / name, dtype="float32")
    assert rate == RATE
    return samples[: round(seconds * rate)]


@pytest.fixture(scope="module")
def voices():
    """The voices of A and B in their turns, each alone: [samples, 2]."""
    sound = np.zeros((round(SECONDS * RATE), 2), np.float32)
    a, b = voice("1998-15444-0004.flac", 8), voice("1688-142285-0003.flac", 4)
    for (name, start, _, _), said in zip(TURNS, (a[: 4 * RATE], b, a[4 * RATE :]), strict=True):
        first = round(start * RATE)
        sound[first : first + len(said), "AB".index(name)] += said
    return sound


@pytest.fixture
def call(voices):
    """Makes (decoded, read) of a call with a voice per track, which leak into each other by 22 dB."""

    def make(level_b: float = 1.0, leak: float = 0.08, **fields):
        noise = np.random.default_rng(2).standard_normal(voices.shape).astype("float32") * 3e-4
        tracks = (voices + leak * voices[:, ::-1]) * np.float32([1, level_b]) + noise
        decoded = replace(
            DECODED,
            seconds=SECONDS,
            channels=2,
            tracks=2,
            channel_mode="split",
            track_channels=(0, 1),
            **fields,
        )

        def sound(track, start, end):
            return tracks[round(start * RATE) : round(end * RATE), track]

        return decoded, sound

    return make


def companion(kind: str, names: tuple[str, ...], turns=TURNS) -> str:
    """The turns in a format, each on the channel that is named for it."""
    lines = []
    for name, (who, start, end, text) in zip(names, turns, strict=True):
        if kind == "rttm":
            lines.append(f"SPEAKER talk {name} {start} {end - start} <NA> <NA> {who} <NA> <NA>")
        elif kind == "stm":
            lines.append(f"talk {name} {who} {start} {end} <o> {text}")
        elif kind == "jsonl":
            channel = f', "channel": {name}' if name.isdigit() else ""
            fields = f'"start": {start}, "end": {end}, "speaker": "{who}", "text": "{text}"'
            lines.append(f"{{{fields}{channel}}}")
        else:
            for at, word in enumerate(text.split()):
                lines.append(f"talk {name} {start + 0.1 + at * 1.6:.2f} 1.50 {word} 0.9")
    return "\n".join(lines) + "\n"


def given(kind, text, decoded, sound, **config):
    settings = DiarizeConfig(**config)
    annotation = read(kind, text, f"talk.{kind}", "talk.wav")
    return given_turns(annotation, f"talk.{kind}", decoded, settings, sound, lambda track, a, b: (a + b) / 2)


@pytest.mark.parametrize("kind", ["rttm", "stm", "ctm", "jsonl"])
@pytest.mark.parametrize(
    "names",
    [("1", "1", "1"), ("0", "0", "0"), ("0", "1", "0"), ("1", "2", "1"), ("A", "B", "A"), ("<NA>",) * 3],
)
def test_every_turn_is_cut_from_the_channel_where_it_is_heard(call, kind, names):
    found = given(kind, companion(kind, names), *call())
    assert [turn.track for turn in found.turns] == [0, 1, 0]
    if kind != "rttm":
        assert [turn.text for turn in found.turns] == [text for *_, text in TURNS]


def test_a_turn_on_a_channel_that_is_silent_there_is_told(call):
    swapped = given("stm", companion("stm", ("2", "1", "2")), *call())
    assert [turn.track for turn in swapped.turns] == [0, 1, 0]
    assert swapped.notes == (
        "3 of 3 turns are heard on another channel than it names, the first at 0.5 s: on channel 1 (from 1), "
        "not on '2'",
    )
    assert given("stm", companion("stm", ("1", "2", "1")), *call()).notes == ()
    (note,) = given("jsonl", companion("jsonl", ("", "", "")), *call()).notes
    assert note == "it names no channels: each turn is on the channel where it is heard"


@pytest.mark.parametrize("level", [0.1, 10.0])
def test_channels_of_different_levels_are_told_apart(call, level):
    # The echo of the louder channel is as loud as the voice on the quieter one.
    found = given("rttm", companion("rttm", ("1", "1", "1")), *call(level_b=level, leak=0.12))
    assert [turn.track for turn in found.turns] == [0, 1, 0]


def test_short_turns_in_doubt_are_where_their_speaker_usually_is(call):
    decoded, sound = call()
    pause = CompanionSegment(9.1, 9.4, "B", "1")
    segments = [CompanionSegment(start, end, who, "1") for who, start, end, _ in TURNS] + [pause]
    tracks, _ = tracks_of(segments, decoded, sound)
    assert tracks == [0, 1, 0, 1]


def test_words_of_both_channels_under_one_name_are_joined_by_channel(call):
    found = given("ctm", companion("ctm", ("1", "1", "1")), *call(), merge_pause=1.5)
    assert [(turn.track, turn.text, turn.speaker) for turn in found.turns] == [
        (0, "alpha one", "channel_1"),
        (1, "bravo two", "channel_2"),
        (0, "alpha three", "channel_1"),
    ]


def test_a_channel_that_was_not_kept_is_not_replaced_by_its_echo(call):
    decoded, sound = call()
    only = replace(decoded, tracks=1, channel_mode="one", track_channels=(0,))
    found = given("stm", companion("stm", ("1", "2", "1")), only, sound)
    assert [(problem.code, problem.turn) for problem in found.problems] == [("other_channel", 1)]
    assert "decode.channels: split" in found.problems[0].message


def test_words_keep_times_and_confidence(call):
    found = given("ctm", companion("ctm", ("0", "1", "0")), *call())
    assert [(word.text, word.probability) for word in found.turns[0].words] == [("alpha", 0.9), (" one", 0.9)]


@pytest.fixture
def mono(voices):
    mixed = voices.sum(axis=1)
    decoded = replace(
        DECODED, seconds=SECONDS, channels=1, tracks=1, channel_mode="mono", track_channels=(0,)
    )
    return decoded, lambda track, start, end: mixed[round(start * RATE) : round(end * RATE)]


def test_of_one_channel_of_words_nobody_knows_who_speaks(mono):
    one, two = (given("ctm", companion("ctm", names), *mono) for names in (("1", "1", "1"), ("1", "2", "1")))
    assert {turn.speaker for turn in one.turns} == {"somebody"}
    assert [turn.speaker for turn in two.turns] == ["channel_1", "channel_2", "channel_1"]


def test_chinese_words_are_joined_without_spaces(mono):
    found = given("ctm", "talk 1 0.5 0.3 你好\ntalk 1 0.9 0.3 世界\ntalk 1 1.3 0.3 ok\n", *mono)
    assert [turn.text for turn in found.turns] == ["你好世界 ok"]


def test_a_turn_that_lacks_a_word_has_no_given_text(mono):
    text = "talk 1 0.5 0.3 so\ntalk 1 x 0.3 it\ntalk 1 1.3 0.3 goes\ntalk 1 5 0.3 on\n"
    found = given("ctm", text, *mono, merge_pause=1)
    assert [turn.text for turn in found.turns] == [None, "on"]


def test_a_turn_after_the_end_is_recorded_and_set_aside(mono):
    late = "talk 1 A 14.6 15.2 <o> late words\n"
    found = given("stm", companion("stm", ("1",) * 3) + late, *mono)
    assert [turn.text for turn in found.turns] == [*(text for *_, text in TURNS), "late words"]
    (problem,) = found.problems
    assert (problem.code, problem.turn) == ("after_the_end", 3)
    assert problem.message == "it lasts from 14.6 to 15.2 s, but the recording ends at 14.0 s"
    assert [turn.text for turn in found.heard] == [text for *_, text in TURNS]


def test_a_small_excess_is_clamped_and_told(mono):
    found = given("stm", "talk 1 A 10 14.3 <o> nearly\n", *mono)
    assert [(turn.start, turn.end) for turn in found.turns] == [(10, 14)]
    assert found.notes == ("1 of its turns end up to 0.30 s after the recording: they end with it",)


def test_text_that_lasts_much_longer_than_the_recording_is_set_aside(mono):
    found = given("stm", "talk 1 A 1 2 here\ntalk 1 A 10 16 <o> words that nobody can hear\n", *mono)
    assert [(problem.code, problem.turn) for problem in found.problems] == [("after_the_end", 1)]
    without_text = given("rttm", "SPEAKER talk 1 10 6 <NA> <NA> A <NA> <NA>\n", *mono)
    assert [(turn.start, turn.end) for turn in without_text.turns] == [(10, 14)]


def test_an_rttm_line_after_the_end_is_a_turn_set_aside(mono):
    text = companion("rttm", ("1",) * 3) + "SPEAKER talk 1 15 2 <NA> <NA> A <NA> <NA>\n"
    found = given("rttm", text, *mono)
    assert [(problem.code, problem.turn) for problem in found.problems] == [("after_the_end", 3)]
    assert all(one.start <= other.start for one, other in pairwise(found.turns))


def test_a_companion_of_another_recording_is_refused(mono):
    with pytest.raises(DataError, match=r"talk.rttm has speech at 500 s, but the recording ends at 14.0 s"):
        given("rttm", "SPEAKER wrong 1 500 3 <NA> <NA> A <NA> <NA>\n", *mono)
    half = companion("stm", ("1",) * 3) + "".join(f"talk 1 A {at} {at + 9} on\n" for at in range(20, 90, 10))
    with pytest.raises(DataError, match="has speech at 20 s"):
        given("stm", half, *mono)


def test_a_companion_without_speech_says_so(mono):
    with pytest.raises(DataError, match=r"talk.rttm contains no speech") as caught:
        given("rttm", ";; nothing\n", *mono)
    assert caught.value.code == "no_speech"
