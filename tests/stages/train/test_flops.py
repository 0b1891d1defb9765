import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stages.train.flops import step_flops
from stages.train.model import Step1
from stages.train.shape import Shape


def test_the_flops_of_a_step_are_those_of_its_matrix_products():
    shape = Shape(hidden=128, ffn=256, heads=4, groups=2, layers=2, vocabulary=300)
    model = Step1(shape)
    model.initialise(0)
    length, targets = 64, 10
    tokens = torch.zeros(1, length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        at, wanted = torch.arange(targets), torch.zeros(targets, dtype=torch.long)
        model.losses(tokens, torch.zeros_like(tokens), at, wanted).sum().backward()
    again = 2 * shape.vocabulary * shape.hidden * targets  # logits, which backward computes a second time
    # On a CPU the half of the scores that the causal mask hides is computed as well.
    expected = step_flops(shape, length, 2 * length**2, targets)
    assert counter.get_total_flops() - again == pytest.approx(expected, rel=1e-2)


def test_a_token_attends_to_half_of_its_document():
    shape = Shape(hidden=128, ffn=256, heads=4, groups=2, layers=3, vocabulary=300)
    scores_and_use = 2 * (2 * 64**2 / 2 * shape.hidden)
    attention = step_flops(shape, 64, 64**2, 10) - step_flops(shape, 64, 0, 10)
    assert attention == 3 * shape.layers * scores_and_use
