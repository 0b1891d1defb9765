"""Long sung vowels are voice activity in songs, and instruments are not."""

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample

from pipeline.models import resolve
from stages.quality import QualityConfig
from stages.stage import SAMPLE_RATE
from stages.voice_activity import VoiceActivity
from tests.paths import DEMO, RECORDINGS

SONGS = ("songs/vocadito_14.flac", "tokenizer/stepaudio_singing.wav")


@pytest.fixture(scope="module")
def detect():
    return VoiceActivity(resolve(QualityConfig().vad).path).speech


def read(path):
    samples, rate = soundfile.read(path, dtype="float32")
    return resample(torch.from_numpy(samples), rate, SAMPLE_RATE).numpy()


def share(stretches, samples):
    return sum(end - start for start, end in stretches) / (len(samples) / SAMPLE_RATE)


@pytest.mark.parametrize("name", SONGS)
def test_more_of_a_song_is_heard_as_voice(detect, name):
    samples = read(RECORDINGS / name)
    for half in np.array_split(samples, 2):
        assert share(detect(half, sings=True), half) >= share(detect(half), half)
    assert share(detect(samples, sings=True), samples) > share(detect(samples), samples) > 0.5


def test_noise_and_silence_are_no_voice_in_songs_either(detect):
    noise = np.random.default_rng(0).normal(0, 0.05, 5 * SAMPLE_RATE).astype(np.float32)
    assert detect(noise, sings=True) == detect(0 * noise, sings=True) == []


def test_speech_is_found_in_order_and_within_the_sound(detect):
    samples = read(DEMO / "monologues" / "1998-15444-0004.flac")
    stretches = detect(samples)
    assert share(stretches, samples) > 0.5
    times = [time for stretch in stretches for time in stretch]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= len(samples) / SAMPLE_RATE
