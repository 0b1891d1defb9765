import numpy as np
import pytest

from stages.stage import SAMPLE_RATE
from stages.train.vocoder.changes import changed, in_room, noise_like, shifted, stretched


@pytest.fixture(scope="module")
def bursts():
    """Two seconds of a buzz at 125 Hz that is there for half of each 0.4 s, at 16 kHz."""
    at = np.arange(2 * SAMPLE_RATE)
    buzz = sum(np.sin(2 * np.pi * 125 * n * at / SAMPLE_RATE) / n for n in range(1, 20))
    return (0.2 * buzz * (at % 6400 < 3200)).astype(np.float32)


def levels(samples):
    """Of each 20 ms."""
    return np.sqrt((samples.reshape(-1, 320) ** 2).mean(1))


def peak_hz(samples):
    return np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3])
def test_the_pitch_changes_by_the_factor_and_the_times_stay(bursts, factor):
    copy = shifted(bursts, factor)
    assert copy.shape == bursts.shape
    assert peak_hz(copy) == pytest.approx(125 * factor, rel=0.03)
    assert np.corrcoef(levels(copy), levels(bursts))[0, 1] > 0.9


def test_stretching_keeps_the_pitch(bursts):
    longer = stretched(bursts, 48_000)
    assert len(longer) == 48_000
    assert peak_hz(longer) == pytest.approx(125, rel=0.03)


def test_a_room_makes_silence_after_sound_louder(bursts):
    echoed = in_room(bursts, np.random.default_rng(0))
    quiet = levels(bursts) < 1e-6
    assert echoed.shape == bursts.shape
    assert levels(echoed)[quiet].mean() > 0.005


def test_noise_is_fainter_than_the_speech(bursts):
    for seed in range(5):
        noise = noise_like(bursts, np.random.default_rng(seed))
        ratio = 20 * np.log10(np.sqrt((bursts**2).mean()) / noise.std())
        assert 7.9 < ratio < 40.1


def test_a_copy_follows_from_its_seed_and_has_the_length_of_the_original(bursts):
    one, again, other = (changed(bursts, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.dtype == np.float32
    assert len(one) == len(bursts)
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)
