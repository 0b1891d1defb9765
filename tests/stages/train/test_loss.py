import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from stages.train.loss import token_losses, weighted_mean


def batch(positions=37, vocabulary=101, width=16, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(positions, width, generator=generator, dtype=dtype, requires_grad=True)
    head = torch.randn(vocabulary, width, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, vocabulary, (positions,), generator=generator)
    return x, head, targets


def test_the_loss_of_a_token_is_minus_the_log_of_its_probability():
    x = torch.tensor([[1.0, 0.0]])
    head = torch.tensor([[2.0, 9.0], [1.0, 9.0], [0.0, 9.0]])
    by_hand = -math.log(math.exp(1) / (math.exp(2) + math.exp(1) + 1))
    assert token_losses(x, head, torch.tensor([1])).item() == pytest.approx(by_hand, abs=1e-6)


@given(chunk=st.integers(1, 60), seed=st.integers(0, 1000))
def test_losses_and_gradients_equal_those_of_whole_logits_for_any_chunk(chunk, seed):
    x, head, targets = batch(seed=seed, dtype=torch.float64)
    weights = torch.rand(37, generator=torch.Generator().manual_seed(seed))
    result = token_losses(x, head, targets, chunk)
    expected = F.cross_entropy(x @ head.T, targets, reduction="none")
    assert torch.allclose(result.double(), expected, atol=1e-5)
    mine = torch.autograd.grad((result * weights).sum(), (x, head))
    theirs = torch.autograd.grad((expected * weights).sum(), (x, head))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(mine, theirs, strict=True))


class Largest(TorchDispatchMode):
    """The largest number of elements of any tensor that is created."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_logits_of_at_most_one_chunk_are_in_memory():
    x, head, targets = batch(positions=200, vocabulary=5000)
    with Largest() as largest:
        token_losses(x, head, targets, chunk=8).sum().backward()
    assert largest.elements == head.numel() == 2 * 8 * 5000


def test_a_large_logit_neither_overflows_nor_vanishes():
    x = torch.tensor([[1.0]], requires_grad=True)
    head = torch.tensor([[1e4], [-1e4]])
    losses = token_losses(x, head, torch.tensor([1]))
    assert losses.item() == pytest.approx(2e4)
    losses.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_parts_of_a_batch_add_up_to_the_mean_over_all_targets():
    x, head, targets = batch()
    weights = torch.tensor([2.0, 1.0, 0.5])[torch.arange(37) % 3]
    losses = token_losses(x, head, targets)
    whole = weighted_mean(losses, weights, weights.sum().item())
    parts = [weighted_mean(losses[a:b], weights[a:b], weights.sum().item()) for a, b in ((0, 5), (5, 37))]
    assert sum(parts).item() == pytest.approx(whole.item(), abs=1e-6)
    by_hand = (
        sum(w * n for w, n in zip(weights.tolist(), losses.tolist(), strict=True)) / weights.sum().item()
    )
    assert whole.item() == pytest.approx(by_hand, abs=1e-5)


def test_a_target_of_weight_zero_has_no_gradient():
    x, head, targets = batch()
    weights = (torch.arange(37) % 2).float()
    weighted_mean(token_losses(x, head, targets, 8), weights, weights.sum().item()).backward()
    assert (x.grad[weights == 0] == 0).all()
    assert (x.grad[weights == 1] != 0).any()
