"""Pitch and energy of semantic codes: relative melody, absolute loudness, hardly changed by noise."""

import numpy as np
import pytest
import soundfile

from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.trained.changes import mixed
from stages.tokenize.trained.prosody import ENERGIES, PITCHES, STEP, energy_levels, pitch_levels
from tests.paths import RECORDINGS

FRAME = 640


def tone(hz: list[float], seconds_each: float = 0.5) -> Samples:
    """A voice-like sound that steps through fundamental frequencies."""
    f0 = np.repeat(hz, int(seconds_each * SAMPLE_RATE))
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE
    sound = sum(np.sin(n * phase) / n for n in range(1, 12))
    return (0.3 * np.asarray(sound)).astype(np.float32)


@pytest.mark.parametrize("middle", [90.0, 140.0, 240.0])
def test_the_same_melody_has_the_same_levels_in_every_voice(middle: float):
    octaves = [0, 2 * STEP, 0, -2 * STEP, 0]
    levels = pitch_levels(tone([middle * 2**octave for octave in octaves]))
    middles = levels[6 :: len(levels) // 5][:5]
    assert middles.tolist() == [4, 6, 4, 2, 4]


def test_silence_and_noise_are_unvoiced():
    generator = np.random.default_rng(0)
    noise = (0.1 * generator.standard_normal(SAMPLE_RATE)).astype(np.float32)
    assert pitch_levels(np.zeros(SAMPLE_RATE, np.float32)).max() == 0
    assert (pitch_levels(noise) == 0).mean() > 0.8


def test_energy_rises_with_the_level_and_covers_all_levels():
    sound = tone([150.0])
    levels = [int(np.median(energy_levels(sound * np.float32(gain)))) for gain in (0.001, 0.1, 0.3, 1.5)]
    assert levels == sorted(levels)
    assert set(levels) == set(range(ENERGIES))


def test_noise_20_db_below_speech_changes_few_levels():
    samples, _ = soundfile.read(RECORDINGS / "demo/monologues/1688-142285-0003.flac", dtype="float32")
    noise = np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)
    noisy = mixed(samples, noise, 20)
    assert (pitch_levels(samples) == pitch_levels(noisy)).mean() > 0.85
    assert (energy_levels(samples) == energy_levels(noisy)).mean() > 0.85


@pytest.mark.parametrize("samples", [0, 1, 639, 640, 12_345])
def test_there_is_one_level_per_40_ms(samples: int):
    sound = np.zeros(samples, np.float32)
    assert len(pitch_levels(sound)) == len(energy_levels(sound)) == samples // FRAME
    assert PITCHES * ENERGIES * 128 == 4096
