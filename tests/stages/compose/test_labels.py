"""Style labels of turns relative to the other turns of the same speaker."""

import pytest

from schemas.recording import HeardLabel, Problem
from stages.compose import ComposeConfig, dialect_in, label, outcomes
from stages.compose.labels import LabelsConfig
from stages.synthesize.styles import labels_of
from tests.stages.annotated import a_turn

CONFIG = LabelsConfig()


def turns_of(measure, values, **attributes):
    return [
        a_turn(5.0 * n, 5.0 * n + 4, index=n, **({} if value is None else {measure: value}), **attributes)
        for n, value in enumerate(values)
    ]


def labels(turns, name, config=CONFIG):
    labels_of = label(turns, config)
    return [labels_of[turn.index].get(name) for turn in turns]


@pytest.mark.parametrize(
    ("name", "measure", "values", "expected"),
    [
        ("rate", "words_per_second", [2.0, 2.5, 2.6, 3.2], ["slow", "normal", "normal", "fast"]),
        ("pitch", "pitch_median_hz", [100, 120, 121, 140], ["low", "normal", "normal", "high"]),
        ("liveliness", "pitch_range_semitones", [3, 6, 6.1, 9], ["flat", "normal", "normal", "lively"]),
        ("loudness", "loudness_lufs", [-31, -27, -26, -20], ["soft", "normal", "normal", "loud"]),
    ],
)
def test_labels_are_relative_to_the_median_of_the_speaker(name, measure, values, expected):
    turns = turns_of(measure, values)
    assert labels(turns, name) == expected
    others = [other for other in ("rate", "pitch", "liveliness", "loudness") if other != name]
    assert all(set(labels(turns, other)) == {"normal"} for other in others)


def test_speakers_are_not_compared_with_each_other():
    low = [a_turn(index=n, speaker="A", pitch_median_hz=100) for n in range(3)]
    high = [a_turn(index=3 + n, speaker="B", pitch_median_hz=250) for n in range(3)]
    assert set(labels(low + high, "pitch")) == {"normal"}


def test_speakers_with_too_few_turns_get_no_labels():
    turns = turns_of("words_per_second", [2.0, 4.0])
    assert labels(turns, "rate") == [None, None]
    assert labels(turns, "rate", LabelsConfig(turns_min=2)) == ["slow", "fast"]


def test_turns_of_somebody_get_no_labels():
    turns = [a_turn(index=n, speaker="somebody", pitch_median_hz=100 + 50 * n) for n in range(4)]
    assert labels(turns, "pitch") == [None] * 4


def test_a_whisper_has_little_pitch_in_its_speech():
    turns = [a_turn(index=n, speech_share=0.8, voiced_share=share) for n, share in enumerate((0, 0.3, 0.6))]
    turns.append(a_turn(index=3, voiced_share=None))
    config = LabelsConfig(whisper_voiced_max=0.49)
    assert labels(turns, "voicing", config) == ["whispered", "whispered", "normal", None]
    assert labels(turns, "pitch", config) == [None, None, "normal", "normal"]
    assert labels(turns, "voicing") == [None] * 4


def test_a_style_that_asks_for_a_whisper_is_confirmed_by_what_is_heard():
    config = LabelsConfig(whisper_voiced_max=0.49)
    sidecar = {"synthesis": {"spoken": [{"labels": labels_of("whispered", ["whispered"])}]}}
    for share, outcome in ((0.1, "confirmed"), (0.7, "refused"), (None, "not_measured")):
        turn = a_turn(sidecar=sidecar, voiced_share=share)
        assert outcomes(turn, config) == [f"whispered/{outcome}"]


def test_a_missing_measure_has_no_label():
    turns = [*turns_of("pitch_median_hz", [100, 120, 121]), a_turn(index=3, pitch_median_hz=None)]
    assert labels(turns, "pitch") == ["low", "normal", "normal", None]


def test_turns_set_aside_or_overlapped_are_excluded_from_the_median():
    turns = turns_of("loudness_lufs", [-27, -27, -27])
    others = [
        a_turn(index=3, loudness_lufs=-5, problem=Problem("x", "y", 3)),
        a_turn(index=4, loudness_lufs=-5, overlapped=True),
    ]
    assert labels(turns + others, "loudness") == ["normal"] * 3 + [None] * 2


def test_emotion_comes_from_the_sidecar():
    assert labels([a_turn(sidecar={"emotion": "sad"})], "emotion") == ["sad"]
    segments = [
        {"start": 0.0, "end": 6.0, "emotion": "calm"},
        {"start": 6.0, "end": 20, "emotion": "angry"},
        {"start": "?", "emotion": 3},
    ]
    turns = turns_of("loudness_lufs", [None] * 5, sidecar={"emotions": segments, "emotion": "sad"})
    assert labels(turns, "emotion") == ["calm", "angry", "angry", "angry", "sad"]
    assert labels([a_turn(start=5.0, end=100.0, sidecar={"emotions": segments})], "emotion") == [None]


def hears(label, probability=0.9):
    return {"heard": (HeardLabel("emotion", label, probability),)}


@pytest.mark.parametrize(
    ("claimed", "heard", "expected"),
    [
        ("sad", hears("Sadness"), "sad"),
        ("sad", hears("sad", 0.3), "sad"),
        ("sad", hears("angry"), None),
        ("sad", hears(None), None),
        (None, hears("ang"), "angry"),
        (None, hears("ang", 0.5), None),
        (None, hears(None), None),
        ("sad", {"heard": (HeardLabel("sound", "music", 0.9),)}, "sad"),
    ],
)
def test_a_claimed_emotion_counts_if_it_is_heard_and_a_sure_ear_gives_one_to_other_turns(
    claimed, heard, expected
):
    turn = a_turn(sidecar={"emotion": claimed} if claimed else {}, **heard)
    assert labels([turn], "emotion") == [expected]


def test_the_emotion_of_a_style_that_was_requested_must_be_heard_too():
    sidecar = {"synthesis": {"spoken": [{"labels": {"emotion": "happy", "rate": "fast"}}]}}
    for heard, confirmed in (("hap", True), ("neutral", False)):
        turn = a_turn(sidecar=sidecar, **hears(heard))
        assert label([turn], CONFIG)[0] == {"rate": "fast"} | ({"emotion": "happy"} if confirmed else {})
        heard_so = "confirmed" if confirmed else "refused"
        assert outcomes(turn, CONFIG) == [f"happy/{heard_so}", "fast/not_measured"]
    assert outcomes(a_turn(sidecar=sidecar), CONFIG) == ["happy/not_measured", "fast/not_measured"]
    assert outcomes(a_turn(**hears("happy")), CONFIG) == []


def test_a_dialect_that_a_voice_was_asked_for_is_that_of_its_turn():
    sidecar = {"synthesis": {"spoken": [{"labels": {"dialect": "四川话"}}]}}
    assert dialect_in(a_turn(sidecar=sidecar), CONFIG) == "sichuanese"
    assert outcomes(a_turn(sidecar=sidecar), CONFIG) == ["sichuanese/not_measured"]


def test_the_thresholds_come_from_the_recipe():
    turns = turns_of("words_per_second", [2.0, 2.5, 2.6])
    config = ComposeConfig(labels=LabelsConfig(rate_factor=1.5)).labels
    assert labels(turns, "rate", config) == ["normal"] * 3


def spoken_in(dialect=None, probability=0.9, recording="sichuan/1.wav", **arguments):
    heard = (HeardLabel("dialect", dialect, probability),) if dialect else ()
    return a_turn(recording=recording, heard=heard, **arguments)


class TestDialects:
    SOURCES = LabelsConfig(
        dialect_sources={
            "sichuan/": "四川话",
            "sichuan/canton/": "Cantonese",
            "s3://bucket/hokkien/": "Hokkien",
            "s3://another/": "Mandarin",
        }
    )

    @pytest.mark.parametrize(
        ("turn", "dialect"),
        [
            (spoken_in(), "sichuanese"),
            (spoken_in(recording="sichuan/canton/1.wav"), "cantonese"),
            (spoken_in(recording="hokkien/1.wav"), "hokkien"),
            (spoken_in(recording="other/1.wav"), None),
            (spoken_in(recording="other/1.wav", language="yue"), "cantonese"),
            (spoken_in(sidecar={"dialect": "Shanghai"}), "shanghainese"),
            (spoken_in(sidecar={"dialects": [{"start": 0, "end": 3, "dialect": "粤语"}]}), "cantonese"),
            (spoken_in(sidecar={"dialects": [{"start": 0, "end": 1, "dialect": "粤语"}]}), "sichuanese"),
            (spoken_in(sidecar={"dialects": [{"start": 0, "end": 1}]}), "sichuanese"),
            (spoken_in("Sichuan Mandarin"), "sichuanese"),
            (spoken_in("yue"), None),
            (spoken_in("yue", recording="other/1.wav"), "cantonese"),
            (spoken_in("yue", 0.5, recording="other/1.wav"), None),
        ],
    )
    def test_the_dialect_is_the_claimed_one_where_it_is_heard(self, turn, dialect):
        assert dialect_in(turn, self.SOURCES) == dialect
        assert label([turn], self.SOURCES)[0].get("dialect") == dialect

    @pytest.mark.parametrize(
        ("turn", "outcome"),
        [
            (spoken_in(), ["sichuanese/not_measured"]),
            (spoken_in("四川话"), ["sichuanese/confirmed"]),
            (spoken_in("Cantonese"), ["sichuanese/refused"]),
            (spoken_in("Cantonese", recording="other/1.wav"), []),
        ],
    )
    def test_claims_are_counted_by_what_is_heard(self, turn, outcome):
        assert outcomes(turn, self.SOURCES) == outcome
