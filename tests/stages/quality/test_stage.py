"""Quality measures distinguish clean from noisy, high from low, and slow from fast speech."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample

from pipeline.models import resolve
from schemas.recording import (
    DecodeColumn,
    DecodedAudio,
    Diarization,
    DiarizeColumn,
    Recording,
    TranscribeColumn,
    Transcript,
    Turn,
    Unit,
    Word,
)
from stages.quality import QualityConfig, QualityStage
from stages.quality.dnsmos import WINDOW, windows
from stages.quality.pitch import pitch_of
from stages.quality.stage import loudness, words_outside, words_per_second
from stages.stage import SAMPLE_RATE
from tests.paths import DEMO, RECORDINGS

LOW, HIGH = "monologues/librivox_ss_0870.mp3", "monologues/1998-15444-0004.flac"
TEXT = Transcript("six words are said in it", "en", 1.0, (), "model", -0.2, 0.0, 1.0, 0.0, 9.0, 5, False)


class InMemoryAudio:
    """An AudioSource over arrays of samples."""

    def __init__(self, **clips):
        self.clips = clips

    def read(self, recording, track=0, start=0.0, end=None):
        samples = self.clips[recording.id]
        return samples[round(start * SAMPLE_RATE) : None if end is None else round(end * SAMPLE_RATE)]

    def fetch(self, recording):
        return nullcontext(Path(recording.uri))

    def spool(self, recording):
        raise NotImplementedError

    def text(self, uri):
        raise NotImplementedError


def speech(name):
    samples, rate = soundfile.read(DEMO / name, dtype="float32")
    assert rate == SAMPLE_RATE
    return samples


@pytest.fixture(scope="module")
def clips():
    low, high = speech(LOW), speech(HIGH)
    noise = np.random.default_rng(0).normal(0, low.std(), len(low)).astype(np.float32)
    return {
        "low": low,
        "high": high,
        "noisy": low + noise,
        "clipped": np.clip(20 * low, -1, 1),
        "quiet": low * np.float32(0.1),
    }


def recording_of(name, samples, turns=None):
    seconds = len(samples) / SAMPLE_RATE
    decoded = DecodedAudio(
        seconds, seconds, "flac", "flac", 16000, 1, 1, "mono", -20.0, -1.0, 0.0, 0.0, 0.0, (), ""
    )
    turns = turns or (Turn(0.0, seconds, "S0", 0, False),)
    return Recording(
        name,
        f"file:///{name}",
        len(samples),
        "",
        "{}",
        (),
        DecodeColumn(decoded),
        DiarizeColumn(Diarization("model", (), (), turns)),
        TranscribeColumn((TEXT,) * len(turns)),
    )


def stage_for(clips, threads=1, **settings):
    config = QualityConfig(**settings)
    models = {reference: resolve(reference).path for reference in config.models}
    stage = QualityStage(config, InMemoryAudio(**clips), models, threads)
    stage.setup()
    return stage


@pytest.fixture(scope="module")
def measured(clips):
    unit = Unit("u", tuple(recording_of(name, samples) for name, samples in clips.items()))
    return {r.id: r.quality.turns[0] for r in stage_for(clips)(unit).recordings}


def test_noise_lowers_quality_and_leaves_pitch_unchanged(measured):
    assert measured["noisy"].dnsmos_overall < measured["low"].dnsmos_overall - 0.5
    assert measured["noisy"].pitch_median_hz == pytest.approx(measured["low"].pitch_median_hz, rel=0.1)


@pytest.mark.parametrize("name", ["low", "high"])
def test_pitch_agrees_with_pyin(clips, measured, name):
    import librosa

    hz, _, _ = librosa.pyin(clips[name], fmin=60, fmax=400, sr=SAMPLE_RATE)
    assert measured[name].pitch_median_hz == pytest.approx(np.nanmedian(hz), rel=0.05)


def test_what_has_no_model_is_not_measured_and_the_rest_stays(clips, measured):
    """DNSMOS and pitch take nearly all of the stage's time."""
    unit = Unit("u", (recording_of("low", clips["low"]),))
    [recording] = stage_for(clips, quality=None, pitch=None)(unit).recordings
    scores = ("dnsmos_overall", "dnsmos_signal", "dnsmos_background")
    of_pitch = (
        "pitch_median_hz",
        "pitch_range_semitones",
        "voiced_share",
        "sustained_share",
        "alpha_ratio_db",
    )
    without = dict.fromkeys((*scores, *of_pitch))
    assert recording.quality.turns[0] == replace(measured["low"], **without)


def test_a_melody_needs_a_pitch_model():
    with pytest.raises(ValueError, match="package:fcpe"):
        QualityConfig(pitch=None, melody=True)


def test_loudness_changes_by_the_gain(measured):
    assert measured["low"].loudness_lufs - measured["quiet"].loudness_lufs == pytest.approx(20, abs=0.1)


def test_clipped_samples_are_counted(measured):
    assert measured["low"].clipped_share == 0
    assert measured["clipped"].clipped_share > 0.05


def test_the_speaking_rate_counts_only_the_seconds_of_speech(clips, measured):
    low = measured["low"]
    assert low.speech_share > 0.7
    seconds = len(clips["low"]) / SAMPLE_RATE
    assert low.words_per_second == pytest.approx(len(TEXT.text.split()) / (low.speech_share * seconds))


def test_measures_do_not_depend_on_other_recordings_or_threads(clips, measured):
    alone = stage_for(clips)(Unit("u", (recording_of("high", clips["high"]),)))
    assert alone.recordings[0].quality.turns[0] == measured["high"]
    threads = stage_for(clips, 2)(Unit("u", tuple(recording_of(n, s) for n, s in clips.items())))
    assert {r.id: r.quality.turns[0] for r in threads.recordings} == measured


def test_a_turn_that_cannot_be_measured_is_set_aside_alone(clips, measured):
    seconds = len(clips["low"]) / SAMPLE_RATE
    turns = (Turn(0.0, seconds, "S0", 0, False), Turn(seconds, seconds, "S0", 0, False))
    done = stage_for(clips)(Unit("u", (recording_of("low", clips["low"], turns),))).recordings[0].quality
    assert done.turns == (measured["low"], None)
    assert [problem.turn for problem in done.problems] == [1]


def test_only_songs_have_a_key_a_tempo_and_a_vibrato():
    samples, rate = soundfile.read(RECORDINGS / "tokenizer" / "stepaudio_singing.wav", dtype="float32")
    sung = resample(torch.from_numpy(samples), rate, SAMPLE_RATE).numpy()
    stage = stage_for({"song": sung, "said": sung})
    song = replace(recording_of("song", sung), sidecar='{"singing": true}')
    unit = stage(Unit("u", (song, recording_of("said", sung))))
    found, none = (recording.quality.turns[0] for recording in unit.recordings)
    assert found.key == "G# major"
    assert found.tempo_bpm is not None
    assert (none.key, none.tempo_bpm, none.vibrato_hz, none.vibrato_cents) == (None,) * 4


def test_windows_cover_all_samples_and_short_audio_is_repeated():
    ramp = np.linspace(-1, 1, 3 * WINDOW + 7, dtype=np.float32)
    parts = windows(ramp)
    assert len(parts) == 4
    assert parts[0][0] == ramp[0]
    assert parts[-1][-1] == ramp[-1]
    assert all(len(w) == WINDOW for w in parts)
    short = np.arange(5, dtype=np.float32) / 5
    np.testing.assert_array_equal(windows(short)[0][:10], np.tile(short, 2))


def test_pitch_ignores_unvoiced_frames():
    hz = np.r_[np.zeros(50), np.full(45, 100.0), np.full(45, 200.0)].astype(np.float32)
    assert pitch_of(hz).range_semitones == pytest.approx(12)
    assert pitch_of(np.zeros(100, np.float32)) is None


def test_two_characters_count_as_a_word_in_scripts_without_spaces():
    assert words_per_second(replace(TEXT, text="one two three"), 1.5) == pytest.approx(2)
    assert words_per_second(replace(TEXT, text="今天天气"), 1.0) == pytest.approx(2)
    assert words_per_second(TEXT, 0.0) is None


def test_marks_are_no_words():
    assert words_per_second(replace(TEXT, text="one [laughter] two <breath> three"), 1.5) == pytest.approx(2)
    assert words_per_second(replace(TEXT, text="今天（笑）天气"), 1.0) == pytest.approx(2)


def test_silence_and_very_short_audio_have_no_loudness():
    assert loudness(np.zeros(SAMPLE_RATE, np.float32)) is None
    assert loudness(np.ones(100, np.float32)) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("2813-11265-4177.", 7), ("in 1998 he", 4), ("5 of 6", 3), ("10,000 people", 4), ("一二 12", 2)],
)
def test_two_digits_count_as_a_word(text, words):
    assert words_per_second(replace(TEXT, text=text), 2.0) == words / 2


def test_words_where_nobody_speaks_are_counted():
    words = tuple(Word(start, start + 0.5, "word", 1.0) for start in (10.0, 11.0, 12.0, 13.0))
    heard = replace(TEXT, words=words)
    assert words_outside(heard, [(10.2, 10.6), (11.55, 11.9)]) == 0.5  # the second ends just before speech
    assert words_outside(heard, []) == 1
    assert words_outside(TEXT, [(10.0, 14.0)]) is None
    assert words_outside(None, []) is None
    laughs = Word(14.0, 15.0, " [laughs]", 1.0)
    assert words_outside(replace(TEXT, words=(*words, laughs)), [(10.0, 13.5)]) == 0
    assert words_outside(replace(TEXT, words=(laughs,)), []) is None


def test_words_that_are_made_up_over_silence_are_seen():
    spoken = speech(HIGH)
    seconds = len(spoken) / SAMPLE_RATE
    samples = np.concatenate([spoken, np.zeros(4 * SAMPLE_RATE, np.float32)])
    real = [Word(seconds * k / 4, seconds * (k + 0.8) / 4, " said", 0.9) for k in range(4)]
    made_up = Word(seconds + 2, seconds + 2.5, " Thanks", 0.9)
    heard = replace(TEXT, words=(*real, made_up))
    recording = replace(recording_of("one", samples), transcribe=TranscribeColumn((heard,)))
    [result] = stage_for({"one": samples})(Unit("u", (recording,))).recordings
    assert result.quality.turns[0].words_outside_speech == pytest.approx(0.2)
