"""Measures of resynthesised speech: word errors, pitch and spectrum, and their confidence intervals."""

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
from stages.quality.pitch import PitchTracker
from stages.train.vocoder.mel import log_mel
from stages.word_errors import Errors, errors
from tests.paths import DEMO

WORDS = st.lists(st.sampled_from(["bread", "ferry", "morning", "stone", "harbour"]), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("language", "reference", "heard", "wrong", "of"),
    [
        ("en", "Mister Smith paid 20 dollars.", "mr. smith paid twenty dollars", 0, 4),
        ("en", "the colour of bread", "the color of red", 1, 4),
        ("en", "Good morning!", "", 2, 2),
        ("de", "Guten Tag, Herr Müller", "guten tag herr", 1, 4),
        ("zh", "甚至出现交易几乎停滞的情况", "甚至出現交易,几乎停止的情况。", 1, 13),
        ("ja", "こんにちは 世界", "こんにちは、世界", 0, 7),
    ],
)
def test_errors_are_counted_after_normalisation(language, reference, heard, wrong, of):
    counts = errors(language, reference, heard)
    assert (counts.wrong, counts.of) == (wrong, of)
    assert counts.characters == (language in ("zh", "ja"))


@given(WORDS, WORDS)
def test_pooled_error_rate_matches_jiwer(reference, heard):
    pairs = [(" ".join(reference), " ".join(heard)), (" ".join(reference), " ".join(reference))]
    counts = [errors("en", *pair) for pair in pairs]
    pooled = ratio([c.wrong for c in counts], [c.of for c in counts])
    assert pooled.value == pytest.approx(jiwer.wer([a for a, _ in pairs], [b for _, b in pairs]))
    assert errors("en", *pairs[1]) == Errors(0, len(reference))


@pytest.mark.parametrize("reference", ["", "  ", "...", "—"])
def test_a_reference_without_words_has_no_error_counts(reference):
    assert errors("en", reference, "bread") is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(5, 9)), min_size=1, max_size=20))
def test_the_interval_contains_the_estimate_and_is_reproducible(counts):
    parts, wholes = zip(*counts, strict=True)
    estimate = ratio(parts, wholes)
    assert 0 <= estimate.low <= estimate.value + 1e-9
    assert estimate.value - 1e-9 <= estimate.high <= max(p / w for p, w in counts) + 1e-9
    assert estimate == ratio(parts, wholes)


def test_more_utterances_narrow_the_interval():
    few, many = (ratio([0, 1, 2] * n, [10] * 3 * n) for n in (2, 50))
    assert few.value == many.value == pytest.approx(0.1)
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_the_mean_ignores_utterances_without_a_value():
    assert mean([1.0, None, 2.0]).value == 1.5
    assert mean([1.0, None, 2.0]).utterances == 2
    assert mean([None]) is None
    assert ratio([], []) is None


@pytest.fixture(scope="module")
def speech():
    """Two seconds of read speech at 16 kHz."""
    samples, rate = soundfile.read(DEMO / "monologues/1998-15444-0004.flac", dtype="float32")
    assert rate == 16000
    return samples[:32000]


@pytest.fixture(scope="module")
def pitch(speech):
    torch.set_num_threads(1)
    return PitchTracker(resolve("package:fcpe").path)


def test_similarity_is_highest_for_the_signal_itself(speech, pitch):
    noise = np.random.default_rng(0).normal(0, 0.05, len(speech)).astype(np.float32)
    own, reversed_, noisy = (pitch.hz(audio) for audio in (speech, speech[::-1].copy(), speech + noise))
    assert f0_correlation(own, own) == pytest.approx(1)
    assert voicing_agreement(own, own) == 1
    assert f0_correlation(own, noisy) > f0_correlation(own, reversed_)
    assert voicing_agreement(own, reversed_) < voicing_agreement(own, noisy) < 1


def test_f0_correlation_is_undefined_with_few_voiced_frames_or_constant_pitch(speech, pitch):
    own = pitch.hz(speech)
    assert f0_correlation(own, np.zeros_like(own)) is None
    assert f0_correlation(own, np.full_like(own, 120.0)) is None, "correlation with a constant is undefined"
    assert voicing_agreement(own, np.zeros_like(own)) == pytest.approx(np.mean(own == 0))


def test_lengths_may_differ_by_a_frame(speech, pitch):
    own = pitch.hz(speech)
    assert f0_correlation(own, own[:-1]) == pytest.approx(1)
    assert voicing_agreement(own[:-1], own) == 1


def test_halving_the_amplitude_is_a_distance_of_six_decibels(speech):
    loud, soft = (log_mel(torch.from_numpy(speech * gain)[None])[0].numpy() for gain in (1.0, 0.5))
    assert mel_distance(loud, loud) == 0
    assert mel_distance(loud, soft) == pytest.approx(6.02, abs=0.3)
