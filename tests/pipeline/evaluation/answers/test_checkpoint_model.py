import numpy as np
import pytest

from pipeline.evaluation.answers.checkpoint_model import open_checkpoint_model
from pipeline.evaluation.answers.exchange import AnsweredQuestion, AnswerSampling, SpokenQuestion
from stages.train.checkpoint import sha256
from tests.pipeline.tiny_models import QUESTION, SHORT

SAMPLING = AnswerSampling(seed=1, max_tokens=60)
FIRST, SECOND = SpokenQuestion(SHORT, None, "en"), SpokenQuestion(QUESTION, "What?", "en")


@pytest.fixture(scope="module")
def model(tiny_checkpoint, vocoder):
    return open_checkpoint_model("tiny", tiny_checkpoint, vocoder)


def test_an_answer_has_text_speech_codes_and_latency(model):
    answer = model.answer([], FIRST, SAMPLING)
    assert answer.text
    assert answer.rate == 22_050
    assert len(answer.samples) > 1000
    assert answer.voices[0].linguistic
    assert answer.latency["first_sound"] <= answer.latency["total"]
    assert answer.reason == "length"


def test_a_seed_gives_the_same_answer_again(model):
    once, again = (model.answer([], FIRST, SAMPLING) for _ in range(2))
    assert (once.text, once.voices) == (again.text, again.voices)
    assert np.array_equal(once.samples, again.samples)
    other = model.answer([], FIRST, AnswerSampling(seed=2, max_tokens=60))
    assert other.voices != once.voices


def test_its_own_answers_are_the_history(model):
    first = model.answer([], FIRST, SAMPLING)
    after = model.answer([AnsweredQuestion(FIRST, first)], SECOND, SAMPLING)
    assert after.voices != model.answer([], SECOND, SAMPLING).voices


def test_it_is_known_by_its_weights(model, tiny_checkpoint):
    about = model.about()
    assert (about["kind"], about["sha256"]) == ("checkpoint", sha256(tiny_checkpoint))
