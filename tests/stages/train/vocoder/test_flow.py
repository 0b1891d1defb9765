import math
from dataclasses import replace

import pytest
import torch

from stages.train.vocoder.flow import Conditions, Flow, flow_matching_loss, interpolated, solve, time_steps
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import MEL_MEAN, MEL_SCALE, MELS, frames_of
from tests.stages.train.vocoder.small_shapes import LITTLE, randomised


@pytest.fixture
def flow() -> Flow:
    return randomised(Flow(LITTLE)).eval()


def conditions_for(frames, batch=2):
    generator = torch.Generator().manual_seed(4)
    draw = [torch.randn(batch, MELS, n, generator=generator) for n in (frames, 1, frames)]
    return Conditions(draw[0], draw[1][:, :, 0], draw[2])


def test_the_loss_is_the_squared_way_from_noise_to_mel(flow):
    """By hand: frame by frame, over those that are there."""
    generator = torch.Generator().manual_seed(5)
    mel, noise = torch.randn(2, 2, MELS, 7, generator=generator)
    there = torch.ones(2, 7, dtype=torch.bool)
    there[1, 4:] = False
    t = torch.tensor([0.25, 0.8])
    conditions = conditions_for(7)
    errors = []
    for b in range(2):
        at = (1 - (1 - 1e-6) * t[b]) * noise[b] + t[b] * mel[b]
        given = [
            conditions.tokens_BMT[b],
            conditions.speaker_BM[b][:, None].expand(-1, 7),
            conditions.prompt_BMT[b],
        ]
        said = flow.decoder.estimator(torch.cat([at, *given])[None], t[b : b + 1])[0] - at + given[0]
        for frame in range(7):
            if there[b, frame]:
                way = mel[b, :, frame] - (1 - 1e-6) * noise[b, :, frame]
                errors.append(sum((said[m, frame] - way[m]) ** 2 for m in range(MELS)) / MELS)
    expected = sum(errors) / len(errors)
    assert len(errors) == 11
    assert flow_matching_loss(flow, mel, there, conditions, t, noise).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_steps_begin_short_and_end_at_one():
    steps = time_steps(10)
    assert steps[0] == 0
    assert steps[10] == pytest.approx(1)
    assert steps[5] == pytest.approx(1 - math.cos(math.pi / 4))
    assert all(b - a < d - c for a, b, c, d in zip(steps, steps[1:], steps[1:], steps[2:], strict=False))


def test_the_mel_is_eulers_way_guided_away_from_no_condition(flow):
    noise = torch.randn(1, MELS, 31, generator=torch.Generator().manual_seed(6))
    given = conditions_for(31, batch=1)
    nothing = Conditions(
        *(torch.zeros_like(c) for c in (given.tokens_BMT, given.speaker_BM, given.prompt_BMT))
    )
    x = noise
    with torch.no_grad():
        for n in range(4):
            now, then = (1 - math.cos(math.pi / 8 * k) for k in (n, n + 1))
            with_it, without = (flow.velocity(x, torch.tensor([now]), c) for c in (given, nothing))
            x = x + (then - now) * (1.7 * with_it - 0.7 * without)
        found = solve(flow, noise, given, steps=4, guidance=0.7)
    assert torch.allclose(found, x, atol=1e-4)


def test_a_straight_field_is_solved_in_any_number_of_steps(flow, monkeypatch):
    """Where the velocity is mel - noise everywhere, as it is for one mel, one step is enough."""
    noise, mel = torch.randn(2, 1, MELS, 31, generator=torch.Generator().manual_seed(7))
    monkeypatch.setattr(flow, "velocity", lambda x, t, conditions, past=None: (mel - noise).expand_as(x))
    for steps in (1, 3, 10):
        assert torch.allclose(solve(flow, noise, conditions_for(31, 1), steps), mel, atol=1e-5)


def test_interpolation_is_that_of_the_whole_but_for_the_edges_of_blocks():
    x = torch.randn(1, 3, 45, generator=torch.Generator().manual_seed(8))
    found = interpolated(torch.nn.functional.pad(x, (1, 0)), first=0)
    assert found.shape[2] == frames_of(45)
    # One frame every 640 / 1323 tokens, halfway between them.
    places = (torch.arange(frames_of(45)) + 0.5) * 640 / 1323 - 0.5
    low = places.clamp(0).floor().long()
    between = x[:, :, low] + (places.clamp(0) - low) * (x[:, :, (low + 1).clamp(max=44)] - x[:, :, low])
    edges = [30, 61, 92]  # the last frames of blocks, which may not look at the next one
    inside = [frame for frame in range(frames_of(45)) if frame not in edges]
    assert torch.allclose(found[:, :, inside], between[:, :, inside], atol=1e-5)
    assert torch.allclose(found[:, :, 30], x[:, :, 14])


def test_a_flow_learns_an_utterance_by_heart(spoken):
    """The loss of one block of speech falls to less than half, with noise of its own in every step."""
    torch.manual_seed(0)
    flow = Flow(replace(LITTLE, channels=(96,), head=24, mean=MEL_MEAN, scale=MEL_SCALE))
    tokens = torch.randint(0, 5120, (1, 15), generator=torch.Generator().manual_seed(0)).expand(4, -1)
    mel = flow.normalised(log_mel(spoken[None])[:, :, :31]).expand(4, -1, -1)
    optimizer = torch.optim.AdamW(flow.parameters(), 3e-3)
    there = torch.ones(4, 31, dtype=torch.bool)
    losses = []
    for step in range(60):
        generator = torch.Generator().manual_seed(step)
        conditions = Conditions(flow.encode(tokens), torch.zeros(4, MELS), torch.zeros_like(mel))
        t, noise = torch.rand(4, generator=generator), torch.randn(mel.shape, generator=generator)
        loss = flow_matching_loss(flow, mel, there, conditions, t, noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.5 * losses[0]
