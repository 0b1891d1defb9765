"""What the packaged models hear in real speech."""

import numpy as np
import pytest
import soundfile

from pipeline.evaluation.answers.ears import SILENCE, Ears, Heard, voice_likeness
from pipeline.evaluation.answers.exchange import SpokenAnswer
from pipeline.evaluation.answers.rules import AnswerTurn, judge_by_rules
from schemas.benchmark import parse_row
from stages.synthesize.audio import SynthesizedAudio, resample
from tests.pipeline.tiny_models import MONOLOGUES, QUESTION

RATE = 16_000


@pytest.fixture(scope="module")
def ears():
    return Ears()


@pytest.fixture(scope="module")
def speech():
    samples, rate = soundfile.read(QUESTION, dtype="float32")
    assert rate == RATE
    return samples


@pytest.fixture(scope="module")
def heard(ears, speech):
    """As it is, and played at four fifths of its speed and a third of its amplitude."""
    text = ears.hear(SpokenAnswer("", speech, RATE)).text
    changed = SpokenAnswer(text, speech / 3, round(0.8 * RATE))
    return ears.hear(SpokenAnswer(text, speech, RATE)), ears.hear(changed)


def test_words_and_language_are_heard(heard):
    plain, _ = heard
    assert (plain.language, plain.word_errors) == ("en", 0)
    assert len(plain.text.split()) > 5
    assert plain.seconds == pytest.approx(5.06)
    assert 0 < plain.speech_seconds <= plain.seconds
    assert 1 < plain.dnsmos < 5


def test_slower_lower_and_softer_speech_is_measured_as_such(heard):
    plain, changed = heard
    assert changed.letters_per_second / plain.letters_per_second == pytest.approx(0.8, abs=0.12)
    assert changed.pitch_hz / plain.pitch_hz == pytest.approx(0.8, abs=0.05)
    assert changed.loudness - plain.loudness == pytest.approx(-9.5, abs=1.5)
    for label, passed in (("slow", 1), ("fast", 0), ("low", 1), ("soft", 1), ("loud", 0)):
        turns = [{"text": "?"}, {"text": "?"}]
        check = {"kind": "voice", "label": label}
        row = parse_row({"id": "a", "dimension": "d", "turns": turns, "checks": [check]}, "x")
        assert judge_by_rules(row, [AnswerTurn("", each) for each in heard])[0].score == passed


def test_what_changes_on_the_way_is_measured_in_the_parts_of_an_answer(ears):
    samples, _ = soundfile.read(MONOLOGUES / "1998-15444-0004.flac", dtype="float32")
    first, second, third = np.array_split(samples, 3)
    slower = resample(SynthesizedAudio(second, round(0.7 * RATE)), RATE)
    spoken = SpokenAnswer("", np.concatenate([first, slower / 3, third]), RATE)
    heard = ears.hear(spoken, 3)
    assert len(heard.parts) == 3
    for changes, passed in (
        (["slow", "fast"], 1),
        (["low", "high"], 1),
        (["soft", "loud"], 1),
        (["slow", "slow"], 0),
        (["loud", "soft"], 0),
        (["slow"], 0),
    ):
        check = {"kind": "voice_turns", "changes": changes}
        row = parse_row({"id": "a", "dimension": "d", "turns": [{"text": "?"}], "checks": [check]}, "x")
        assert judge_by_rules(row, [AnswerTurn("", heard)])[0].score == passed
    assert ears.hear(spoken).parts == ()


def test_one_voice_is_like_itself(heard, ears):
    plain, changed = heard
    assert voice_likeness([plain, plain]) == pytest.approx(1)
    assert voice_likeness([plain, changed]) < 0.95
    assert voice_likeness([plain]) is None


def test_nothing_is_heard_in_silence(ears):
    assert ears.hear(SpokenAnswer("Hello.", None)) == SILENCE
    quiet = ears.hear(SpokenAnswer("Hello.", np.zeros(RATE, np.float32), RATE))
    assert (quiet.text, quiet.word_errors, quiet.seconds) == ("", None, 1)


def test_measures_are_kept_as_json(heard):
    plain, _ = heard
    assert Heard.of_json(plain.as_json()) == plain
