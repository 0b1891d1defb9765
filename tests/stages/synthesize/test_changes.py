"""Changed copies of voices are drawn by a hash, and differ where the settings say so."""

import numpy as np
import pytest
from pydantic import ValidationError

from stages.synthesize.audio import SynthesizedAudio
from stages.synthesize.changes import VoiceChange, VoiceChangesConfig

RATE = 16_000
PLAIN = {
    "speed": 1.0,
    "semitones": 0.0,
    "before": 0.0,
    "after": 0.0,
    "noise_db": None,
    "room_seconds": None,
    "seed": 3,
}


def tone(hz=200.0, seconds=0.5):
    return SynthesizedAudio(
        np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32) / 2, RATE
    )


def pitch(audio):
    spectrum = np.abs(np.fft.rfft(audio.samples))
    return np.argmax(spectrum) * audio.rate / len(audio.samples)


def test_a_key_draws_the_same_change_within_the_ranges():
    config = VoiceChangesConfig(share=0.5, speeds=(0.8, 1.2), semitones=(-2, 3), noise_share=0.5)
    drawn = [config.drawn(f"talk {n}") for n in range(400)]
    assert drawn == [config.drawn(f"talk {n}") for n in range(400)]
    changes = [change for change in drawn if change]
    assert len(changes) / len(drawn) == pytest.approx(0.5, abs=0.08)
    assert {change.speed for change in changes} == {0.8, 1.2}
    assert -2 <= min(c.semitones for c in changes) < -1.5 < 2.5 < max(c.semitones for c in changes) <= 3
    noisy = [change.noise_db for change in changes if change.noise_db is not None]
    assert len(noisy) / len(changes) == pytest.approx(0.5, abs=0.1)
    assert 15 <= min(noisy) < max(noisy) <= 40


def test_semitones_raise_the_pitch_and_shorten_the_speech():
    higher = VoiceChange(**PLAIN | {"semitones": 3.0})(tone())
    assert pitch(higher) == pytest.approx(200 * 2 ** (3 / 12), rel=0.02)
    assert len(higher.samples) == pytest.approx(0.5 * RATE * 2 ** (-3 / 12), rel=0.01)


def test_noise_has_the_level_that_was_drawn_and_is_the_same_each_time():
    change = VoiceChange(**PLAIN | {"noise_db": 20.0})
    noise = change(tone()).samples - tone().samples
    assert 10 * np.log10(np.mean(tone().samples ** 2) / np.mean(noise**2)) == pytest.approx(20, abs=0.2)
    assert np.array_equal(change(tone()).samples, change(tone()).samples)
    assert not np.array_equal(
        change(tone()).samples, VoiceChange(**PLAIN | {"noise_db": 20.0, "seed": 4})(tone()).samples
    )


def test_silence_comes_before_and_after_the_words_and_noise_is_in_it_too():
    heard = VoiceChange(**PLAIN | {"before": 0.25, "after": 0.5, "noise_db": 30.0})(tone()).samples
    assert len(heard) == 1.25 * RATE
    edges = np.concatenate([heard[: RATE // 4], heard[-RATE // 2 :]])
    assert 0 < np.sqrt(np.mean(edges**2)) < 0.03
    assert np.sqrt(np.mean(heard[RATE // 4 : 3 * RATE // 4] ** 2)) == pytest.approx(0.354, abs=0.01)


def test_an_echo_follows_the_sound_and_falls():
    click = SynthesizedAudio(np.zeros(RATE, np.float32), RATE)
    click.samples[1000] = 0.5
    heard = VoiceChange(**PLAIN | {"room_seconds": 0.3})(click).samples
    assert np.abs(heard[:1000]).max() < 1e-4
    near, far = (np.sqrt(np.mean(heard[start : start + 800] ** 2)) for start in (1100, 4500))
    assert near > 10 * far > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"semitones": (2, -2)}, "from low to high"),
        ({"semitones": (-9, 0)}, "from -4 to 4"),
        ({"silence": (-1, 0)}, "at least 0"),
        ({"speeds": (3.0,)}, "from 0.5 to 2"),
    ],
)
def test_ranges_that_no_voice_follows_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        VoiceChangesConfig(**settings)
