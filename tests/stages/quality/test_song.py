"""Key, tempo and vibrato of tones that are known, and of a song."""

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample

from pipeline.models import resolve
from stages.quality import QualityConfig
from stages.quality.pitch import PitchTracker
from stages.quality.song import key, song_measures, tempo, vibrato
from tests.paths import DEMO, RECORDINGS

SONG = RECORDINGS / "tokenizer" / "stepaudio_singing.wav"
SPEECH = DEMO / "monologues" / "1998-15444-0004.flac"
RATE = 16_000
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
TUNE = (0, 2, 4, 2, 0, 3, 4, 4, 1, 0, 4, 5, 4, 3, 2, 1, 0, 0)
"""Degrees of a scale, from 0: much tonic and fifth."""


@pytest.fixture(scope="module")
def pitch_of():
    return PitchTracker(resolve(QualityConfig().pitch).path).hz


def tones(notes, seconds, wave=lambda time: 0.0):
    """A voice-like tone for each MIDI number, with `wave` cents added at each time; samples [n]."""
    parts = []
    for note, length in zip(notes, np.broadcast_to(seconds, len(notes)), strict=True):
        time = np.arange(round(length * RATE)) / RATE
        hz = 440 * 2 ** ((note - 69 + wave(time) / 100) / 12)
        phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, len(time))) / RATE
        tone = sum(np.sin(n * phase) / n for n in range(1, 9))
        parts.append(tone * np.minimum(1, np.minimum(time, length - time) / 0.02) * np.exp(-2 * time))
    return (0.2 * np.concatenate(parts)).astype(np.float32)


class TestKey:
    @pytest.mark.parametrize(
        ("tonic", "scale", "name"),
        [(60, MAJOR, "C major"), (57, MINOR, "A minor"), (66, MAJOR, "F# major"), (63, MINOR, "D# minor")],
    )
    @pytest.mark.parametrize("tuning", [0.0, 0.4])
    def test_a_tune_is_in_its_key_however_the_singer_is_tuned(self, pitch_of, tonic, scale, name, tuning):
        notes = [tonic + scale[degree] + tuning for degree in TUNE]
        assert key(pitch_of(tones(notes, 0.4))) == name

    def test_few_notes_have_none(self):
        assert key(np.full(1000, 440.0, np.float32)) is None
        assert key(np.zeros(1000, np.float32)) is None
        two = np.repeat(np.array([440.0, 494.0], np.float32), 400)
        assert key(two) is None

    def test_notes_of_all_pitches_alike_have_none(self):
        chromatic = np.repeat((440 * 2 ** (np.arange(12) / 12)).astype(np.float32), np.tile([40, 41], 6))
        assert key(chromatic) is None


class TestTempo:
    @pytest.mark.parametrize("bpm", [63, 80, 96, 120, 140])
    def test_notes_on_beats_have_the_tempo(self, bpm):
        beats = np.random.default_rng(bpm).choice([0.5, 0.5, 1, 1, 1, 2], 40)
        notes = 57 + np.random.default_rng(1).integers(0, 12, 40)
        assert tempo(tones(notes, beats * 60 / bpm)) == pytest.approx(bpm, rel=0.02)

    def test_notes_at_any_time_silence_and_short_ones_have_none(self):
        lengths = np.random.default_rng(3).uniform(0.1, 1.2, 60)
        assert tempo(tones(np.full(60, 60), lengths)) is None
        assert tempo(np.zeros(20 * RATE, np.float32)) is None
        assert tempo(tones([60] * 8, 0.5)) is None


class TestVibrato:
    @pytest.mark.parametrize("rate", [4.5, 5.5, 7.0])
    @pytest.mark.parametrize("extent", [40, 80])
    def test_rate_and_extent_are_those_of_the_tone(self, rate, extent):
        time = np.arange(200) * 0.01
        hz = 220 * 2 ** (extent * np.sin(2 * np.pi * rate * time) / 1200 + 0.02 * time)
        assert vibrato(hz.astype(np.float32)) == (
            pytest.approx(rate, abs=0.15),
            pytest.approx(extent, rel=0.1),
        )

    def test_it_is_heard_in_sound(self, pitch_of):
        sound = tones([57, 60], 2.0, lambda time: 60 * np.sin(2 * np.pi * 5.5 * time))
        rate, extent = vibrato(pitch_of(sound))
        assert rate == pytest.approx(5.5, abs=0.2)
        assert extent == pytest.approx(60, rel=0.25)

    def test_steady_and_gliding_tones_and_slow_and_fast_waves_have_none(self):
        time = np.arange(200) * 0.01
        for cents in (
            0 * time,
            300 * time,
            60 * np.sin(2 * np.pi * 2 * time),
            60 * np.sin(2 * np.pi * 12 * time),
        ):
            assert vibrato((220 * 2 ** (cents / 1200)).astype(np.float32)) is None


def test_a_song_in_tune_has_a_key_in_both_halves_and_speech_and_silence_have_none(pitch_of):
    samples, rate = soundfile.read(SONG, dtype="float32")
    hz = pitch_of(resample(torch.from_numpy(samples), rate, RATE).numpy())
    halves = hz[: len(hz) // 2], hz[len(hz) // 2 :]
    assert [key(part) for part in (hz, *halves)] == ["G# major"] * 3
    speech, _ = soundfile.read(SPEECH, dtype="float32")
    spoken = song_measures(speech, pitch_of(speech))
    assert (spoken.key, spoken.vibrato_hz) == (None, None)
    silent = song_measures(np.zeros(RATE, np.float32), np.zeros(100, np.float32))
    assert set(vars(silent).values()) == {None}
