"""The baseline of three parts; the recogniser is made up, the text server a real socket, the voice real."""

import pytest

from pipeline.evaluation.answers.cascade_model import CascadeModel
from pipeline.evaluation.answers.endpoint_model import endpoint_config
from pipeline.evaluation.answers.exchange import AnsweredQuestion, AnswerSampling, SpokenQuestion
from pipeline.evaluation.answers.voices import PackagedVoices
from pipeline.storage.store import Store
from schemas.errors import DataError
from stages.replies import Replies
from tests.pipeline.tiny_models import QUESTION, SHORT
from tests.served import Answer, completion, serving

SAMPLING = AnswerSampling(temperature=0.5, max_tokens=50)
FIRST, SECOND = SpokenQuestion(QUESTION, "hidden", "en"), SpokenQuestion(SHORT, "hidden", "en")


class MadeUpEars:
    def __init__(self, *texts):
        self.texts = list(texts)

    def language(self, samples):
        return "en", 1.0

    def transcribe(self, samples, language):
        return self.texts.pop(0)


@pytest.fixture
def model(tmp_path):
    def open_model(url, *heard):
        config = endpoint_config(f"{url}#m", retries=0, backoff=0.0)
        replies = Replies(Store(str(tmp_path)), "replies")
        return CascadeModel("m", config, replies, MadeUpEars(*heard), PackagedVoices(tmp_path / "spoken"))

    return open_model


def test_the_text_server_gets_what_is_heard_and_its_answer_is_spoken(model):
    with serving([completion("It is a horse."), completion("Brown.")]) as server:
        cascade = model(server.url, "what is it", "which color")
        first = cascade.answer([], FIRST, SAMPLING)
        cascade.answer([AnsweredQuestion(FIRST, first)], SECOND, SAMPLING)
    assert first.text == "It is a horse."
    assert len(first.samples) / first.rate > 0.5
    assert first.latency["first_text"] <= first.latency["first_sound"] == first.latency["total"]
    asked = [[message["content"] for message in body["messages"][1:]] for body in server.bodies]
    assert asked == [["what is it"], ["what is it", "It is a horse.", "which color"]]


def test_an_answer_without_words_has_no_speech(model):
    with serving([completion("...")]) as server:
        answer = model(server.url, "what is it").answer([], FIRST, SAMPLING)
    assert (answer.text, answer.samples) == ("...", None)


@pytest.mark.parametrize(("heard", "code"), [("what is it", "server_error"), ("", "no_words")])
def test_what_fails_is_told(model, heard, code):
    with serving([Answer(500)]) as server, pytest.raises(DataError) as raised:
        model(server.url, heard).answer([], FIRST, SAMPLING)
    assert raised.value.code == code
