"""Acoustic features: the pitch of known tones and voices, and the spectrum within its range."""

import librosa
import numpy as np
import pytest
import soundfile

from stages.stage import Samples
from stages.tokenize.acoustics import MIDDLE_HZ, RANGE, VOICED, acoustics, pitch
from tests.paths import RECORDINGS


def tone(hertz: float, seconds: float = 1.0, partials: int = 8) -> Samples:
    times = np.arange(int(16_000 * seconds)) / 16_000
    waves = [np.sin(2 * np.pi * hertz * n * times) / n for n in range(1, partials + 1)]
    return (sum(waves) / 4).astype(np.float32)


@pytest.mark.parametrize("hertz", [65, 100, 140, 220, 330, 480])
def test_the_pitch_of_a_harmonic_tone_is_found_within_half_a_semitone(hertz: float):
    height, strength = pitch(tone(hertz))
    assert len(height) == 25
    inside = slice(1, -1)
    assert np.abs(height[inside] - np.log2(hertz / MIDDLE_HZ)).max() < 1 / 24
    assert strength[inside].min() > VOICED


def test_noise_and_silence_are_unvoiced():
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    assert np.median(pitch(noise)[1]) < 0.3
    assert pitch(np.zeros(16_000, np.float32))[1].max() == 0


def test_pitch_does_not_depend_on_the_level():
    height, strength = pitch(tone(150) / 20)
    assert np.allclose(height, pitch(tone(150))[0])
    assert np.allclose(strength, pitch(tone(150))[1], atol=1e-6)


def test_the_pitch_of_speech_agrees_with_pyin():
    samples, _ = soundfile.read(RECORDINGS / "demo/monologues/1998-15444-0004.flac", dtype="float32")
    height, _ = pitch(samples)
    hertz, _, _ = librosa.pyin(
        np.pad(samples[320:], (0, 1600)),
        fmin=60,
        fmax=500,
        sr=16_000,
        frame_length=1024,
        hop_length=640,
        resolution=0.2,
    )
    voiced = ~np.isnan(hertz[: len(height)])
    apart = np.abs(height - np.log2(hertz[: len(height)] / MIDDLE_HZ))[voiced]
    assert voiced.mean() > 0.4
    assert (apart < 1 / 6).mean() > 0.9


def test_a_frame_is_the_mean_spectrum_within_the_range_and_the_pitch():
    log_mel = np.random.default_rng(0).normal(0, 2, (80, 112)).astype(np.float32)
    features = acoustics(tone(140), log_mel)
    assert features.shape == (25, 82)
    assert features[:, :80].min() >= log_mel.max() - RANGE
    assert np.allclose(features[3, :80], np.maximum(log_mel, log_mel.max() - RANGE)[:, 12:16].mean(axis=1))
    assert np.allclose(features[1:-1, 80:], [0, 0.5], atol=0.05)


def test_audio_shorter_than_a_frame_has_no_features():
    assert acoustics(np.zeros(639, np.float32), np.zeros((80, 50), np.float32)).shape == (0, 82)
