"""The words of spoken questions."""

import numpy as np
import pytest
import soundfile

from pipeline.inference.question_recogniser import QuestionRecogniser
from stages.stage import SAMPLE_RATE
from tests.pipeline.tiny_models import QUESTION


@pytest.fixture(scope="module")
def recogniser():
    return QuestionRecogniser("package:whisper-tiny-en")


@pytest.mark.parametrize("more", [1, 300])
def test_a_few_samples_beyond_a_window_say_nothing(recogniser, tmp_path, more):
    spoken, rate = soundfile.read(QUESTION)
    assert rate == SAMPLE_RATE
    samples = np.zeros(30 * SAMPLE_RATE + more)
    samples[: len(spoken)] = spoken
    soundfile.write(tmp_path / "long.wav", samples, SAMPLE_RATE)
    soundfile.write(tmp_path / "whole.wav", samples[:-more], SAMPLE_RATE)
    text, language = recogniser.words(tmp_path / "long.wav")
    assert (text, language) == recogniser.words(tmp_path / "whole.wav")
    assert len(text.split()) > 3
    assert language == "en"
