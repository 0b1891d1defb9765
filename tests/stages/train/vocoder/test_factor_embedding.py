from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.tokenize.trained.tokenizer import SemanticFactors
from stages.train.vocoder.factor_embedding import FactorEmbedding
from tests.stages.train.vocoder.small_shapes import LITTLE

SHAPE = replace(LITTLE, factors=(8, 4, 128))


def test_a_semantic_code_is_the_sum_of_its_factors_and_a_linguistic_one_its_own():
    embedding = FactorEmbedding(SHAPE)
    weight = embedding.weight
    pitch, energy, content = weight[1024:1032], weight[1032:1036], weight[1036:1164]
    assert len(weight) == 1164
    tokens = torch.tensor([[5, 1023, 1024, 1024 + 6 + 8 * (3 + 4 * 77)]])
    expected = [
        weight[5],
        weight[1023],
        pitch[0] + energy[0] + content[0],
        pitch[6] + energy[3] + content[77],
    ]
    assert torch.allclose(embedding(tokens)[0], torch.stack(expected))


def test_the_order_of_factors_is_that_of_trained_codes():
    embedding = FactorEmbedding(SHAPE)
    codes = SemanticFactors(*np.array([[5], [2], [77]])).codes()
    pitch, energy, content = (embedding.weight[1024 + row] for row in (5, 8 + 2, 8 + 4 + 77))
    found = embedding(1024 + torch.from_numpy(codes))
    assert torch.allclose(found[0], pitch + energy + content)


def test_sums_that_were_given_for_all_codes_are_found_again():
    """Up to what moves from one factor to another, which no code can tell."""
    source, copy = FactorEmbedding(SHAPE), FactorEmbedding(SHAPE)
    codes = torch.arange(5120)
    copy.fit(source(codes).detach(), torch.ones(5120))
    assert torch.allclose(copy(codes), source(codes), atol=1e-3)


def test_it_is_fitted_on_another_device_than_that_of_the_codes():
    embedding = FactorEmbedding(SHAPE).to("meta")
    embedding.fit(torch.randn(5120, SHAPE.width), torch.ones(5120))
    assert embedding.weight.is_meta


def test_factors_that_do_not_make_all_codes_are_refused():
    with pytest.raises(ValueError, match="product of the factors"):
        replace(LITTLE, factors=(8, 4))
