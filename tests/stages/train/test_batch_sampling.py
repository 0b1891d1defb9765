"""Many answers written at once are those that are written one by one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SetupError
from schemas.layout import header
from stages.train.batch_cache import BatchReader
from stages.train.batch_sampling import Question, answers
from stages.train.cache import MIN_GROWTH, Step1Reader
from stages.train.grammar import Form
from stages.train.model import Step1
from stages.train.sampling import Sampling, answer, answered
from stages.train.shape import PRESETS, Shape

LITTLE = Shape(hidden=48, ffn=80, heads=6, groups=2, layers=2, vocabulary=97, context=64)


@pytest.fixture(scope="module")
def little():
    torch.set_num_threads(1)
    model = Step1(LITTLE)
    model.initialise(seed=2)
    return model


@pytest.fixture(scope="module")
def model(vocabulary):
    torch.set_num_threads(1)
    model = Step1(PRESETS["tiny"].with_vocabulary(vocabulary.size)).requires_grad_(False)
    model.initialise(seed=1)
    model.lm_head.weight *= 40  # as sure of itself as a trained model
    return model


def question(vocabulary, text, *samplings):
    asked = [*header("human", vocabulary), *vocabulary.encode(text), vocabulary.eot]
    return Question(np.concatenate([asked, header("assistant", vocabulary)]), samplings)


def one_by_one(model, asked, vocabulary, form):
    return [
        answered(answer(Step1Reader(model), asked.prompt, vocabulary, form, sampling))
        for sampling in asked.samplings
    ]


def same(one, other):
    return np.array_equal(one.ids, other.ids) and (one.text, one.voices, one.reason) == (
        other.text,
        other.voices,
        other.reason,
    )


class Alone:
    """A sequence that is read by itself."""

    def __init__(self, model, ids):
        self.reader, self.last = Step1Reader(model), ids[-1]
        if ids[:-1]:
            self.reader.read(ids[:-1])


@given(st.lists(st.one_of(st.integers(1, 40), st.just("leave"), st.just("read")), min_size=3, max_size=25))
def test_sequences_that_join_and_leave_have_the_logits_that_each_has_alone(little, steps):
    draws = np.random.default_rng(0)
    batch, alone = BatchReader(little, rows=4), []
    for step in steps:
        if isinstance(step, int) and len(alone) < 4:
            alone.append(Alone(little, draws.integers(0, 97, step).tolist()))
            batch.join(alone[-1].reader)
        elif step == "leave" and alone:
            at = int(draws.integers(len(alone)))
            batch.leave(at)
            alone[at] = alone[-1]
            alone.pop()
        elif alone:
            logits_BV = batch.read([one.last for one in alone])
            for one, logits_V in zip(alone, logits_BV, strict=True):
                assert torch.allclose(logits_V, one.reader.read([one.last]), atol=1e-5)
                one.last = int(draws.integers(97))


def test_a_cache_that_grows_drops_the_columns_of_those_who_left(little):
    batch = BatchReader(little, rows=2)
    first, second = Alone(little, [1] * 200), Alone(little, [2, 3])
    batch.join(first.reader)
    for _ in range(MIN_GROWTH - 10):
        batch.read([5])
    batch.join(second.reader)
    batch.leave(0)
    for id in range(90):
        logits_V = batch.read([second.last])[0]
        assert torch.allclose(logits_V, second.reader.read([second.last]), atol=1e-5)
        second.last = id


@pytest.mark.parametrize(("temperature", "form"), [(0, Form()), (0.8, Form("text_first"))])
def test_answers_in_a_batch_are_those_that_are_written_alone(model, vocabulary, temperature, form):
    texts = "Who is there?", "Hm?", "And what would you say if nobody had asked you, or anybody else, at all?"
    asked = [
        question(
            vocabulary,
            texts[n],
            *(Sampling(temperature, 0.9, seed, max_tokens=8 + 7 * n) for seed in range(n, 2 * n + 1)),
        )
        for n in range(3)
    ]
    found = list(answers(model, asked, vocabulary, form, rows=4))
    assert [len(own) for own in found] == [1, 2, 3]
    for one, own in zip(asked, found, strict=True):
        assert all(map(same, own, one_by_one(model, one, vocabulary, form)))


def test_an_answer_does_not_depend_on_who_shares_the_batch(model, vocabulary):
    ours = question(vocabulary, "Who is there?", Sampling(0.8, 0.9, 3, max_tokens=15))
    others = [question(vocabulary, f"Number {n}?", Sampling(0.5, 0.9, n, max_tokens=3 + n)) for n in range(5)]
    found = [list(answers(model, asked, vocabulary, Form(), rows=3)) for asked in ([ours], [*others, ours])]
    assert len(found[1]) == 6
    assert same(found[0][0][0], found[1][-1][0])


def test_questions_are_taken_when_there_is_room(model, vocabulary):
    taken = []

    def asked():
        for n in range(8):
            taken.append(n)
            yield question(vocabulary, "Hm?", Sampling(0, max_tokens=4))

    found = answers(model, asked(), vocabulary, Form(), rows=2)
    next(found)
    assert len(taken) <= 4


def test_nothing_asked_is_nothing_answered(model, vocabulary):
    assert list(answers(model, [], vocabulary, Form())) == []


def test_broken_weights_are_told(vocabulary):
    broken = Step1(PRESETS["tiny"].with_vocabulary(vocabulary.size)).requires_grad_(False)
    broken.initialise(seed=1)
    broken.lm_head.weight.fill_(torch.nan)
    with pytest.raises(SetupError, match="weights are broken"):
        list(answers(broken, [question(vocabulary, "Hm?", Sampling())], vocabulary, Form()))
