"""Rounding to a grid: codes and values are two forms of the same point, and training has a gradient."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.tokenize.trained.fsq import FSQ

LEVELS = st.lists(st.integers(2, 8), min_size=1, max_size=5).map(tuple)


@given(levels=LEVELS, seed=st.integers(0, 999))
def test_every_vector_gets_a_code_whose_values_are_the_rounded_vector(levels: tuple[int, ...], seed: int):
    grid = FSQ(levels)
    x = 3 * torch.randn(64, len(levels), generator=torch.Generator().manual_seed(seed))
    codes = grid.codes(x)
    assert 0 <= int(codes.min()) <= int(codes.max()) < grid.size
    rounded, _ = grid(x)
    torch.testing.assert_close(grid.values(codes), rounded)


@pytest.mark.parametrize("levels", [(4, 4, 4, 4, 4), (8, 4, 4), (5, 3)])
def test_all_codes_can_be_reached_and_are_different_points(levels: tuple[int, ...]):
    grid = FSQ(levels)
    values = grid.values(torch.arange(grid.size))
    assert len({tuple(row.tolist()) for row in values}) == grid.size
    assert float(values.abs().max()) <= 1
    extremes = 20 * torch.tensor([[1.0] * len(levels), [-1.0] * len(levels)])
    assert sorted(grid.codes(extremes).tolist()) == [0, grid.size - 1]


def test_the_gradient_is_that_of_the_values_before_rounding():
    grid = FSQ((4, 4))
    x = torch.tensor([[0.1, -0.4]], requires_grad=True)
    rounded, before = grid(x)
    [through] = torch.autograd.grad(rounded.sum(), x, retain_graph=True)
    [smooth] = torch.autograd.grad(before.sum(), x)
    torch.testing.assert_close(through, smooth)
    assert float(through.abs().min()) > 0
