import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.train.config import DPOConfig
from stages.train.dpo import Sides, anchor_tokens, compare, side_sums
from stages.train.loss import token_losses


def sides(logps, tokens=None):
    logps = torch.tensor(logps, dtype=torch.float64)
    return Sides(
        logps, torch.ones_like(logps) if tokens is None else torch.tensor(tokens, dtype=torch.float64)
    )


POLICY = sides([[[-4.0, -50.0, -60.0], [-9.0, -40.0, -70.0]]], [[[4, 20, 30], [3, 10, 15]]])
REFERENCE = torch.tensor([[[-5.0, -52.0, -61.0], [-8.0, -45.0, -65.0]]], dtype=torch.float64)


def loss(config, policy=POLICY, reference=REFERENCE):
    return compare(policy, reference, config, len(reference), anchor_tokens(policy, config)).loss.item()


def test_the_masked_loss_is_that_of_text_computed_by_hand():
    margin = 0.5 * ((-4 + 5) - (-9 + 8))
    assert loss(DPOConfig(beta=0.5)) == pytest.approx(-math.log(1 / (1 + math.exp(-margin))))


def test_the_unmasked_loss_is_that_of_all_tokens_computed_by_hand():
    margin = 0.1 * ((1 + 2 + 1) - (-1 + 5 - 5))
    assert loss(DPOConfig(mask_audio=False)) == pytest.approx(math.log(1 + math.exp(-margin)))


def test_length_normalisation_compares_means_per_unmasked_token():
    config = DPOConfig(beta=2, length_normalised=True)
    assert loss(config) == pytest.approx(math.log(1 + math.exp(-2 * (1 / 4 - (-1) / 3))))


def test_the_anchor_is_the_cross_entropy_of_the_chosen_text():
    assert loss(DPOConfig(anchor=0.3)) - loss(DPOConfig()) == pytest.approx(0.3 * 4 / 4)


def test_at_the_reference_margins_are_0_and_the_loss_is_log_2():
    compared = compare(sides(REFERENCE.tolist()), REFERENCE, DPOConfig(), 1, 1)
    assert compared.margin_P.tolist() == [0]
    assert compared.loss.item() == pytest.approx(math.log(2))


def test_audio_drift_is_reported_per_token():
    compared = compare(POLICY, REFERENCE, DPOConfig(), 1, 1)
    assert compared.audio_drift_P2[0].tolist() == pytest.approx([(2 + 1) / 50, (5 - 5) / 25])
    assert compared.text_gain_P2[0].tolist() == pytest.approx([1, -1])


def test_parts_of_a_step_add_up():
    generator = torch.Generator().manual_seed(0)
    logps, reference = (-9 * torch.rand(5, 2, 3, generator=generator) for _ in range(2))
    tokens = torch.randint(1, 9, (5, 2, 3), generator=generator).float()
    config = DPOConfig(anchor=0.5, length_normalised=True)
    whole = Sides(logps, tokens)
    total = anchor_tokens(whole, config)
    parts = [
        compare(Sides(logps[at], tokens[at]), reference[at], config, 5, total).loss
        for at in (slice(0, 2), slice(2, 5))
    ]
    expected = compare(whole, reference, config, 5, total).loss
    assert sum(parts).item() == pytest.approx(expected.item(), abs=1e-6)


def test_sums_are_those_of_each_side_and_modality():
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    sums = side_sums(losses, torch.tensor([0, 0, 1, 1, 3]), torch.tensor([0, 2, 0, 0, 1]), pairs=2)
    assert sums.logps_P2M.tolist() == [[[-1, 0, -2], [-7, 0, 0]], [[0, 0, 0], [0, -5, 0]]]
    assert sums.tokens_P2M.tolist() == [[[1, 0, 1], [2, 0, 0]], [[0, 0, 0], [0, 1, 0]]]


VOCABULARY, PAIRS = 13, 3
targets_of_batch = st.lists(
    st.tuples(st.integers(0, 2 * PAIRS - 1), st.integers(0, 2), st.integers(0, VOCABULARY - 1)),
    min_size=1,
    max_size=40,
)


def gradient_on_logits(batch, config):
    """(side, modality, id) of each target of a batch. The head is the identity, so x are the logits."""
    side, modality, targets = (torch.tensor(column) for column in zip(*batch, strict=True))
    generator = torch.Generator().manual_seed(len(batch))
    logits = torch.randn(len(batch), VOCABULARY, generator=generator, requires_grad=True)
    losses = token_losses(logits, torch.eye(VOCABULARY), targets, chunk=7)
    policy = side_sums(losses, side, modality, PAIRS)
    reference = torch.randn(PAIRS, 2, 3, generator=generator)
    compare(policy, reference, config, PAIRS, max(1.0, anchor_tokens(policy, config))).loss.backward()
    return logits.grad, modality


@given(
    targets_of_batch,
    st.builds(DPOConfig, beta=st.floats(0.01, 5), anchor=st.floats(0, 2), length_normalised=st.booleans()),
)
def test_with_the_mask_the_gradient_at_audio_targets_is_exactly_0(batch, config):
    gradient, modality = gradient_on_logits(batch, config)
    assert (gradient[modality > 0] == 0).all()


@given(targets_of_batch)
def test_without_the_mask_every_target_has_a_gradient(batch):
    gradient, _ = gradient_on_logits(batch, DPOConfig(mask_audio=False, anchor=0))
    assert (gradient != 0).any(dim=1).all()


@given(targets_of_batch)
def test_a_step_down_the_gradient_raises_the_margins_of_text(batch):
    gradient, modality = gradient_on_logits(batch, DPOConfig())
    side = torch.tensor([s for s, _, _ in batch])
    targets = torch.tensor([t for _, _, t in batch])
    at_target = gradient[torch.arange(len(batch)), targets]
    assert (at_target[(modality == 0) & (side % 2 == 0)] < 0).all()
    assert (at_target[(modality == 0) & (side % 2 == 1)] > 0).all()
