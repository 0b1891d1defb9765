"""The voices of flite, which speak where the program is installed."""

import shutil

import numpy as np
import pytest

from pipeline.synthesis.speech_models import speech_models
from schemas.errors import DataError, SetupError
from stages.synthesize.flite import Flite, is_flites
from stages.synthesize.kokoro import language_of
from stages.synthesize.speech import SpeechConfig
from stages.synthesize.styles import StyleConfig

SLT, RMS = "flite:slt", "flite:rms"
TEXT = "What is three plus four?"
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


@needs_flite
def test_a_text_always_has_the_same_samples_and_those_of_its_voice():
    flite = Flite([SLT, RMS])
    once, again, other = flite.speak([TEXT], SLT)[0], flite.speak([TEXT], SLT)[0], flite.speak([TEXT], RMS)[0]
    assert once.rate == 16_000
    assert 1 < len(once.samples) / once.rate < 3
    assert np.array_equal(once.samples, again.samples)
    assert not np.array_equal(once.samples[:8000], other.samples[:8000])


@needs_flite
def test_pace_and_level_follow_the_style():
    plain, slow, soft = (
        Flite([SLT]).speak([TEXT], SLT, style)[0]
        for style in (StyleConfig(), StyleConfig(speed=0.7), StyleConfig(gain_db=-12))
    )
    assert 1.3 < len(slow.samples) / len(plain.samples) < 1.6
    assert np.abs(soft.samples).max() < 0.3 * np.abs(plain.samples).max()


@needs_flite
@pytest.mark.parametrize("text", ["...", "你好"])
def test_what_it_has_no_words_for_is_set_aside(text):
    (spoken,) = Flite([SLT]).speak([text], SLT)
    assert isinstance(spoken, DataError)
    assert spoken.code == "not_spoken"


@needs_flite
def test_an_unknown_voice_lists_the_known():
    with pytest.raises(SetupError, match=r"no voice 'flite:slr': it has .*flite:slt"):
        Flite(["flite:slr"])


@needs_flite
@pytest.mark.parametrize("engine", ["piper", "kokoro"])
def test_they_speak_beside_other_voices(engine):
    joe = "package:piper-joe"
    models = speech_models(SpeechConfig(engine=engine, human_voices=(SLT, RMS), assistant_voices=(joe,)))
    assert len({models.hash_of(voice) for voice in (SLT, RMS, joe)}) == 3
    speaker = models.speaker(1.0)
    rates = [speaker.speak(["Good morning."], voice)[0].rate for voice in (SLT, joe)]
    assert rates == [16_000, 22_050]


def test_they_are_named_by_their_program_and_speak_english():
    assert is_flites(SLT)
    assert not is_flites("package:piper-joe")
    assert language_of(SLT) == "a"


def test_without_the_program_there_is_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"flite:slt: the program flite is not installed: apt install flite"):
        Flite([SLT])
