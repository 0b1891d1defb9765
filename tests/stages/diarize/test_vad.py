"""Removal of crosstalk between the channels of a call."""

import numpy as np
import pytest
import soundfile as sf

from stages.diarize.vad import without_crosstalk
from tests.paths import RECORDINGS

RATE = 16_000


@pytest.fixture(scope="module")
def voices():
    """Two readers at 16 kHz, each of 4 s without silence at the start."""
    folder = RECORDINGS / "demo/monologues"
    first, _ = sf.read(folder / "1688-142285-0003.flac", dtype="float32")
    second, _ = sf.read(folder / "1998-15444-0004.flac", dtype="float32")
    return first[RATE : 5 * RATE], second[RATE : 5 * RATE]


def call(voices, leak: float, shift: int):
    """Samples of two channels: one speaks, then the other, whose channel holds the first as crosstalk."""
    first, second = voices
    first = first[: len(first) - shift]
    noise = np.random.default_rng(0).normal(0, 1e-4, (2, len(first) + len(second))).astype(np.float32)
    left, right = noise
    left[: len(first)] += first
    right[len(first) :] += second
    return left + leak * right, right + leak * left, len(first) / RATE


@pytest.mark.parametrize("shift", [0, 1_600, 3_200, 4_800, 6_400])
def test_speech_begins_and_ends_where_it_does_and_not_at_a_block_of_crosstalk(voices, shift):
    left, right, middle = call(voices, 0.1, shift)
    whole = [(0.0, len(left) / RATE)]
    assert without_crosstalk(whole, right, [left])[0][0] == pytest.approx(middle, abs=0.2)
    assert without_crosstalk(whole, left, [right])[-1][1] == pytest.approx(middle, abs=0.2)


def test_both_may_speak_at_once(voices):
    first, second = voices
    for own, other in ((first, second), (second, first)):
        kept = without_crosstalk([(0.0, 4.0)], own + 0.1 * other, [other + 0.1 * own])
        assert sum(end - start for start, end in kept) > 3.2  # without pauses


def test_channels_without_crosstalk_keep_all_their_speech(voices):
    first, second = voices
    assert without_crosstalk([(0.5, 2.25), (3.0, 4.0)], first, [second]) == [(0.5, 2.25), (3.0, 4.0)]
