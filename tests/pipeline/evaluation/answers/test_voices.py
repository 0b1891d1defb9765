import io

import pytest
import soundfile

from pipeline.evaluation.answers import voices as module
from pipeline.evaluation.answers.voices import PackagedVoices
from pipeline.synthesis.speech_models import SpeechModels
from schemas.errors import DataError


def test_a_text_is_spoken_once_and_kept(tmp_path, monkeypatch):
    data = PackagedVoices(tmp_path).question("Hello there.", "row")
    samples, rate = soundfile.read(io.BytesIO(data))
    assert 0.5 < len(samples) / rate < 5
    monkeypatch.setattr(SpeechModels, "speaker", None)  # nothing can speak any more
    assert PackagedVoices(tmp_path).question("Hello  there.", "row") == data


def test_questions_and_answers_have_different_voices(tmp_path):
    voices = PackagedVoices(tmp_path)
    assert voices.question("Hello there.", "row") != voices.answer("Hello there.")


def test_a_text_without_words_is_not_spoken(tmp_path):
    with pytest.raises(DataError) as raised:
        PackagedVoices(tmp_path).question("...", "row")
    assert raised.value.code == "no_words"


def test_chinese_needs_a_voice_that_speaks_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="install the extra `kokoro`"):
        PackagedVoices(tmp_path).question("你好。", "row")
