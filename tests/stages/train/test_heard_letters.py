"""The letters that a model learns at the sound that says them."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.train.batch import HeardLetters, batch_of
from stages.train.documents import Document
from stages.train.heard_letters import Alphabet, letter_losses

PAD, EOT = 98, 99
VOCABULARY = {
    "specials": {"pad": PAD, "eot": EOT},
    "linguistic": {"first": 100, "codes": 1024},
    "semantic": {"first": 1124, "codes": 4096},
}
BYTES = {n: bytes([n]) for n in range(32, 97)} | {97: b" bat"}
BYTES |= {5300 + letter: bytes([letter]) for letter in range(97, 123)}
"""Single bytes, the small letters among them behind the codes, and a word."""


@pytest.fixture
def alphabet():
    return Alphabet(BYTES, VOCABULARY)


def letters(word):
    return [5300 + ord(letter) for letter in word]


def document(family, spoken, text, key="d"):
    tokens = np.array([60, 61, *spoken, 62, *text, EOT], np.int32)
    loss = np.repeat(np.array([0, 1], np.uint8), [3 + len(spoken), len(text) + 1])
    return Document(key, family, tokens, loss)


def text_of(alphabet, numbers):
    ids = alphabet.ids_K[list(numbers)].tolist()
    return "".join(chr(id - 5300) if id >= 5300 else chr(id) for id in ids)


def test_a_text_is_spelled_in_small_letters_without_marks(alphabet):
    spelled = alphabet.spelled([84, *letters("he"), 97, 44, *letters("it"), 39, *letters("s"), 46, EOT])
    assert text_of(alphabet, spelled) == "the bat it's"
    assert alphabet.spelled([46, EOT]) == ()


def test_only_the_speech_of_asr_samples_is_heard_with_the_position_behind_it(alphabet):
    spoken = [100, 101, 1200, 1201, 1202]
    batch = batch_of(
        [
            [document("tts", spoken, letters("no")), document("asr", spoken * 2, letters("yes"))],
            [
                document("asr", spoken, [46]),
                document("asr", [], letters("no")),
                document("asr", spoken, [97]),
            ],
        ],
        length=40,
        pad=PAD,
    )
    heard = alphabet.heard(batch)
    assert heard.sizes == (11, 6)
    assert [text_of(alphabet, numbers) for numbers in heard.letters] == ["yes", "bat"]
    tokens = batch.tokens_BL.flatten()[heard.at_P].tolist()
    assert tokens == [*spoken * 2, 62, *spoken, 62]


def test_the_loss_is_that_of_all_ways_to_place_the_letters():
    generator = torch.Generator().manual_seed(0)
    x_PD, head_KD = torch.randn(9, 6, generator=generator), torch.randn(4, 6, generator=generator)
    heard = HeardLetters(torch.arange(9), (4, 5), ((0, 1), (2, 2)))
    losses_S = letter_losses(x_PD, head_KD, heard)
    log_probabilities = (F.rms_norm(x_PD, (6,)) @ head_KD.T).log_softmax(-1).split(heard.sizes)
    for loss, of_stretch, wanted in zip(losses_S, log_probabilities, heard.letters, strict=True):
        paths = [
            sum(of_stretch[at, letter] for at, letter in enumerate(path))
            for path in product(range(4), repeat=len(of_stretch))
            if collapsed(path) == wanted
        ]
        assert loss.item() == pytest.approx(-torch.logsumexp(torch.stack(paths), 0).item() / 2, rel=1e-5)


def collapsed(path):
    """Repeated letters as one, and then without the places of none, 3."""
    once = [letter for at, letter in enumerate(path) if at == 0 or path[at - 1] != letter]
    return tuple(letter for letter in once if letter != 3)


def test_more_letters_than_fit_have_no_loss_and_no_speech_has_a_gradient_of_zero():
    x_PD, head_KD = torch.randn(3, 6, requires_grad=True), torch.randn(4, 6)
    assert letter_losses(x_PD, head_KD, HeardLetters(torch.arange(3), (3,), ((0, 1, 2, 0),))).tolist() == [0]
    losses_S = letter_losses(x_PD, head_KD, HeardLetters(torch.zeros(0, dtype=torch.int64), (), ()))
    assert losses_S.shape == (0,)
    losses_S.sum().backward()
    assert not x_PD.grad.any()
