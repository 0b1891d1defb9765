from collections.abc import Iterator

import pytest

from pipeline.inference.answer_vocoder import AnswerVocoder, open_answer_vocoder
from pipeline.inference.answerer import Answerer, open_answerer
from pipeline.serving.model import Limits, ServedModel
from tests.pipeline.tiny_server import LONG, Client, serving


@pytest.fixture(scope="session")
def answerer(tiny_checkpoint) -> Answerer:
    return open_answerer(tiny_checkpoint)


@pytest.fixture(scope="session")
def answer_vocoder(vocoder) -> AnswerVocoder:
    return open_answer_vocoder(vocoder)


@pytest.fixture(scope="module")
def client(answerer, answer_vocoder) -> Iterator[Client]:
    limits = Limits(tokens=LONG, seconds=12, megabytes=1)
    with serving(ServedModel("tiny", answerer, answer_vocoder, limits)) as client:
        yield client
