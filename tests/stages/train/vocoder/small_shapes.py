"""Shapes of a vocoder that are small enough for tests, and random weights for them."""

from dataclasses import replace

import torch

from stages.train.vocoder.shape import LATENTS, FlowShape, WaveShape

LITTLE = FlowShape(16, 2, 24, 2, (48,), 2, 8, 1, 1, past=2, ahead=5, residual=True)
"""Can stream; attention sees two blocks back, so that it is exceeded by a short utterance."""
LITTLE_WAVE = WaveShape(16, 24, 2, pitch=8)
LITTLE_PLAIN_WAVE = replace(LITTLE_WAVE, pitch=0)
"""Without a harmonic source, as before there was one."""
LITTLE_VOICE = replace(LITTLE, features=LATENTS, prompted=False, mean=None)
"""The same, for the latents of a voice."""


def no_voice(reference):
    raise AssertionError(f"it needs no voice, but asks for {reference}")


def randomised(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network
