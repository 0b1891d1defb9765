"""Shapes of a vocoder that are small enough for every test, and random weights for them."""

import torch

from stages.train.vocoder.shape import FlowShape, WaveShape

LITTLE = FlowShape(16, 2, 24, 2, (48,), 2, 8, 1, 1, past=2, ahead=5, residual=True)
"""Streams; attention sees two blocks back, so that a short utterance outgrows it."""
LITTLE_WAVE = WaveShape(16, 24, 2)


def randomised(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network
