import pytest

from pipeline.inference.answer_vocoder import AnswerVocoder, open_answer_vocoder
from pipeline.inference.answerer import Answerer, open_answerer


@pytest.fixture(scope="session")
def answerer(tiny_checkpoint) -> Answerer:
    return open_answerer(tiny_checkpoint)


@pytest.fixture(scope="session")
def answer_vocoder(vocoder) -> AnswerVocoder:
    return open_answer_vocoder(vocoder)
