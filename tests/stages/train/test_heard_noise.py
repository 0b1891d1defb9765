"""Noise in the codes that a model hears."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.train.batch import batch_of, modality_of
from stages.train.documents import Document
from stages.train.heard_noise import LONGEST_RUN, with_noise

VOCABULARY = {"linguistic": {"first": 100, "codes": 1024}, "semantic": {"first": 1124, "codes": 4096}}


def batch(codes: int = 3000, sequences: int = 1):
    """Text, heard codes, text that is learned and codes that are."""
    generator = np.random.default_rng(0)
    spoken = generator.integers(100, 5220, codes)
    tokens = np.concatenate([np.arange(20), spoken, np.arange(20), spoken[:100]]).astype(np.int32)
    loss = np.repeat(np.array([0, 1], np.uint8), [20 + codes, 120])
    documents = [[Document(f"d{n}", "asr", tokens, loss)] for n in range(sequences)]
    return batch_of(documents, len(tokens) + 5, pad=0)


@given(share=st.floats(0.01, 0.9), seed=st.integers(0, 1000))
def test_only_heard_codes_change_and_stay_in_their_codebook(share, seed):
    clean = batch(400)
    noisy = with_noise(clean, share, [[seed]], VOCABULARY)
    heard = slice(20, 420)
    changed = (noisy.tokens_BL != clean.tokens_BL)[0]
    assert not changed[: heard.start].any()
    assert not changed[heard.stop :].any()
    assert torch.equal(modality_of(noisy.tokens_BL, VOCABULARY), modality_of(clean.tokens_BL, VOCABULARY))
    assert torch.equal(noisy.targets_N, clean.targets_N)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_about_the_share_is_replaced_in_runs(share):
    clean = batch(200_000)
    changed = (with_noise(clean, share, [[7]], VOCABULARY).tokens_BL != clean.tokens_BL)[
        0, 20:200_020
    ].numpy()
    assert changed.mean() == pytest.approx(share, rel=0.1)
    runs = np.count_nonzero(np.diff(changed.astype(int)) == 1)
    assert changed.sum() / runs > LONGEST_RUN / 3


def test_each_sequence_has_its_own_noise_which_its_seed_determines():
    clean = batch(sequences=2)
    first, second = with_noise(clean, 0.3, [[1], [2]], VOCABULARY).tokens_BL
    assert not torch.equal(first, second)
    assert torch.equal(with_noise(clean, 0.3, [[2], [1]], VOCABULARY).tokens_BL[1], first)
