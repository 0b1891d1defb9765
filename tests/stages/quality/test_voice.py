"""Song holds its notes and speech doesn't; effort raises the high frequencies, and gain doesn't."""

import numpy as np
import pytest
import soundfile

from pipeline.models import resolve
from stages.quality import QualityConfig
from stages.quality.pitch import PitchTracker
from stages.quality.voice import alpha_ratio, melody, sustained_share, voiced_share
from tests.paths import DEMO, RECORDINGS

SONG = RECORDINGS / "songs" / "vocadito_14.flac"
SPEECH = DEMO / "monologues" / "1998-15444-0004.flac"


@pytest.fixture(scope="module")
def heard():
    """Samples and pitch of a song and of speech."""
    tracker = PitchTracker(resolve(QualityConfig().pitch).path)
    sounds = {file: soundfile.read(file, dtype="float32")[0] for file in (SONG, SPEECH)}
    return {file: (samples, tracker.hz(samples)) for file, samples in sounds.items()}


def test_a_song_sustains_its_pitch_and_speech_does_not(heard):
    assert sustained_share(heard[SONG][1]) > 0.3
    assert sustained_share(heard[SPEECH][1]) < 0.15


def test_a_glide_and_a_short_note_are_not_sustained():
    note = np.full(100, 220.0, np.float32)
    glide = (220 * 2 ** (np.arange(100) / 100)).astype(np.float32)
    assert sustained_share(note) == 1.0
    assert sustained_share(glide) == 0.0
    assert sustained_share(np.concatenate([note[:29], np.zeros(50, np.float32), note[:29]])) == 0.0
    assert sustained_share(np.concatenate([note[:50], glide[50:]])) == pytest.approx(0.5, abs=0.1)
    assert sustained_share(np.zeros(100, np.float32)) is None


def test_the_voiced_share_counts_frames_with_a_pitch():
    assert voiced_share(np.array([0, 200, 210, 0], np.float32)) == 0.5
    assert voiced_share(np.array([], np.float32)) == 0.0


def test_the_alpha_ratio_is_that_of_the_bands_and_no_gain_changes_it(heard):
    samples, hz = heard[SPEECH]
    assert alpha_ratio(0.1 * samples, hz) == pytest.approx(alpha_ratio(samples, hz), abs=1e-3)
    bright = np.diff(samples, prepend=np.float32(0))  # 6 dB more an octave
    assert alpha_ratio(bright, hz) > alpha_ratio(samples, hz) + 5
    time = np.arange(16_000) / 16_000
    tones = (np.sin(2 * np.pi * 250 * time) + 0.1 * np.sin(2 * np.pi * 2000 * time)).astype(np.float32)
    assert alpha_ratio(tones, np.full(100, 250, np.float32)) == pytest.approx(-20, abs=0.5)
    assert alpha_ratio(tones, np.zeros(100, np.float32)) is None


def test_a_melody_has_a_note_every_40_ms(heard):
    hz = np.array([440, 440, 440, 440, 0, 0, 880, 880, 0, 0, 0, 440, 440], np.float32)
    assert melody(hz) == (69.0, 81.0, 0.0)
    samples, pitch = heard[SONG]
    assert len(melody(pitch)) == pytest.approx(len(samples) / 640, abs=2)
    # "Happy birthday" is sung within little more than an octave.
    sung = [note for note in melody(pitch) if note]
    assert np.percentile(sung, 95) - np.percentile(sung, 5) < 14
