"""Measures of speech that was made again: of words, of pitch and spectrum, and how far to trust them."""

import jiwer
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models import resolve
from stages.evaluate.estimate import mean, ratio
from stages.evaluate.likeness import f0_correlation, mel_distance, voicing_agreement
from stages.evaluate.words import Errors, errors
from stages.quality.pitch import PitchTracker
from stages.train.vocoder.mel import log_mel
from tests.paths import DEMO

WORDS = st.lists(st.sampled_from(["bread", "ferry", "morning", "stone", "harbour"]), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("language", "said", "heard", "wrong", "of"),
    [
        ("en", "Mister Smith paid 20 dollars.", "mr. smith paid twenty dollars", 0, 4),
        ("en", "the colour of bread", "the color of red", 1, 4),
        ("en", "Good morning!", "", 2, 2),
        ("de", "Guten Tag, Herr Müller", "guten tag herr", 1, 4),
        ("zh", "甚至出现交易几乎停滞的情况", "甚至出現交易,几乎停止的情况。", 1, 13),
        ("ja", "こんにちは 世界", "こんにちは、世界", 0, 7),
    ],
)
def test_words_are_counted_as_the_field_counts_them(language, said, heard, wrong, of):
    found = errors(language, said, heard)
    assert (found.wrong, found.of) == (wrong, of)
    assert found.characters == (language in ("zh", "ja"))


@given(WORDS, WORDS)
def test_many_utterances_together_have_the_rate_of_the_oracle(said, heard):
    pairs = [(" ".join(said), " ".join(heard)), (" ".join(said), " ".join(said))]
    counted = [errors("en", *pair) for pair in pairs]
    pooled = ratio([one.wrong for one in counted], [one.of for one in counted])
    assert pooled.value == pytest.approx(jiwer.wer([a for a, _ in pairs], [b for _, b in pairs]))
    assert errors("en", *pairs[1]) == Errors(0, len(said))


@pytest.mark.parametrize("nothing", ["", "  ", "...", "—"])
def test_a_text_without_words_can_not_be_heard_wrongly(nothing):
    assert errors("en", nothing, "bread") is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(5, 9)), min_size=1, max_size=20))
def test_an_interval_holds_its_figure_and_a_seed_repeats_it(counted):
    parts, wholes = zip(*counted, strict=True)
    found = ratio(parts, wholes)
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= max(p / w for p, w in counted) + 1e-9
    assert found == ratio(parts, wholes)


def test_more_utterances_are_trusted_more():
    few, many = (ratio([0, 1, 2] * n, [10] * 3 * n) for n in (2, 50))
    assert few.value == many.value == pytest.approx(0.1)
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_means_are_of_those_that_have_the_measure():
    assert mean([1.0, None, 2.0]).value == 1.5
    assert mean([1.0, None, 2.0]).utterances == 2
    assert mean([None]) is None
    assert ratio([], []) is None


@pytest.fixture(scope="module")
def reader():
    """Two seconds of a reader at 16 kHz."""
    samples, rate = soundfile.read(DEMO / "monologues/1998-15444-0004.flac", dtype="float32")
    assert rate == 16000
    return samples[:32000]


@pytest.fixture(scope="module")
def pitch(reader):
    torch.set_num_threads(1)
    return PitchTracker(resolve("package:fcpe").path)


def test_speech_is_like_itself_and_less_like_anything_else(reader, pitch):
    noise = np.random.default_rng(0).normal(0, 0.05, len(reader)).astype(np.float32)
    own, reversed_, noisy = (pitch.hz(sound) for sound in (reader, reader[::-1].copy(), reader + noise))
    assert f0_correlation(own, own) == pytest.approx(1)
    assert voicing_agreement(own, own) == 1
    assert f0_correlation(own, noisy) > f0_correlation(own, reversed_)
    assert voicing_agreement(own, reversed_) < voicing_agreement(own, noisy) < 1


def test_nothing_is_said_of_pitch_where_little_is_voiced(reader, pitch):
    own = pitch.hz(reader)
    assert f0_correlation(own, np.zeros_like(own)) is None
    assert f0_correlation(own, np.full_like(own, 120.0)) is None, "what never moves correlates with nothing"
    assert voicing_agreement(own, np.zeros_like(own)) == pytest.approx(np.mean(own == 0))


def test_a_frame_more_or_less_does_no_harm(reader, pitch):
    own = pitch.hz(reader)
    assert f0_correlation(own, own[:-1]) == pytest.approx(1)
    assert voicing_agreement(own[:-1], own) == 1


def test_half_as_loud_is_six_decibels_away(reader):
    loud, soft = (log_mel(torch.from_numpy(reader * gain)[None])[0].numpy() for gain in (1.0, 0.5))
    assert mel_distance(loud, loud) == 0
    assert mel_distance(loud, soft) == pytest.approx(6.02, abs=0.3)
