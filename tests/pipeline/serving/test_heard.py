"""What was asked is written down after the answer, which doesn't depend on it."""

import pytest

from pipeline.serving.model import Limits, ServedModel
from tests.pipeline.tiny_server import ASK, question, serving

LIMITS = Limits(tokens=60, seconds=12, megabytes=1)
SECRET = "hunter2"


class Ears:
    """Hears the same in everything, or fails."""

    fails = False

    def words(self, question):
        assert question.stat().st_size > 1000
        if self.fails:
            raise IndexError(SECRET)
        return SECRET, "en"


@pytest.fixture
def ears():
    return Ears()


@pytest.fixture
def client(answerer, answer_vocoder, ears):
    with serving(ServedModel("tiny", answerer, answer_vocoder, LIMITS, recogniser=ears)) as client:
        yield client


def test_a_spoken_question_comes_back_in_words(client):
    whole, chunks = client.ask(**ASK), client.stream(**ASK)
    assert whole["heard"] == chunks[-1]["heard"] == SECRET
    assert not any("heard" in chunk for chunk in chunks[:-1])


def test_a_written_question_does_not(client):
    assert "heard" not in client.ask(**ASK | {"messages": [question(text="Hello")]})


def test_an_answer_stays_complete_where_its_question_cannot_be_written_down(client, ears, caplog):
    caplog.set_level("DEBUG")
    ears.fails = True
    whole, chunks = client.ask(**ASK), client.stream(**ASK)
    assert whole["choices"][0]["message"]["content"].strip()
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert "heard" not in whole
    assert "writing down a question failed: IndexError" in caplog.text
    assert SECRET not in caplog.text
