"""Discriminators of two kinds that the generator is trained against, and their losses (Vocos, section 3.3).

Names of tensors end in their dimensions: B utterances, N samples.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = (512, 1024, 2048)
"""Window lengths of the transforms, in samples."""
RESOLUTION_WEIGHT = 0.1
"""Weight of the multi-resolution losses, relative to those of the period discriminators."""

DiscriminatorOutput = tuple[Tensor, list[Tensor]]
"""Scores, and the features of each earlier layer."""


def conv(inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return cast(nn.Module, weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding)))


class PeriodDiscriminator(nn.Module):
    """Sees samples that are a period apart (HiFi-GAN, section 2.3)."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, width, 4 * width, 16 * width]
        self.convs = nn.ModuleList(conv(before, after, (5, 1), (3, 1)) for before, after in pairwise(widths))
        self.score = conv(widths[-1], 1, (3, 1))

    def forward(self, samples_BN: Tensor) -> DiscriminatorOutput:
        short = -samples_BN.shape[1] % self.period
        x = F.pad(samples_BN[:, None], (0, short), mode="reflect").unflatten(2, (-1, self.period))
        return discriminate(x, self.convs, self.score)


class ResolutionDiscriminator(nn.Module):
    """Sees a spectrum (UnivNet; complex, as in Vocos)."""

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.window = window
        self.convs = nn.ModuleList(
            conv(width if n else 2, width, (3, 9) if n < 3 else (3, 3), (1, 2) if n in (1, 2) else (1, 1))
            for n in range(4)
        )
        self.score = conv(width, 1, (3, 3))

    def forward(self, samples_BN: Tensor) -> DiscriminatorOutput:
        window = torch.hann_window(self.window, device=samples_BN.device)
        spectrum = torch.stft(
            samples_BN, self.window, self.window // 4, window=window, normalized=True, return_complex=True
        )
        x = torch.stack([spectrum.real, spectrum.imag], 1).transpose(2, 3)
        return discriminate(x, self.convs, self.score)


def discriminate(x: Tensor, convs: nn.ModuleList, score: nn.Module) -> DiscriminatorOutput:
    features = []
    for layer in convs:
        x = F.leaky_relu(layer(x), 0.1)
        features.append(x)
    return cast(Tensor, score(x)), features


class Discriminators(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, width) for period in PERIODS)
        self.resolutions = nn.ModuleList(ResolutionDiscriminator(window, width) for window in RESOLUTIONS)

    def forward(self, samples_BN: Tensor) -> list[tuple[float, DiscriminatorOutput]]:
        """The weight and the output of each discriminator."""
        return [(1.0, one(samples_BN)) for one in self.periods] + [
            (RESOLUTION_WEIGHT, one(samples_BN)) for one in self.resolutions
        ]


@dataclass(frozen=True)
class AdversarialLosses:
    """The generator's losses from the discriminators."""

    adversarial: Tensor
    features: Tensor


def generator_losses(
    real: list[tuple[float, DiscriminatorOutput]], generated: list[tuple[float, DiscriminatorOutput]]
) -> AdversarialLosses:
    """Hinge loss of generated samples, and the distance of their features from those of real samples."""
    adversarial = torch.stack([weight * F.relu(1 - scores).mean() for weight, (scores, _) in generated]).sum()
    features = torch.stack(
        [
            weight * torch.stack([(r.detach() - m).abs().mean() for r, m in zip(rs, ms, strict=True)]).mean()
            for (weight, (_, rs)), (_, (_, ms)) in zip(real, generated, strict=True)
        ]
    ).sum()
    return AdversarialLosses(adversarial, features)


def discriminator_loss(
    real: list[tuple[float, DiscriminatorOutput]], generated: list[tuple[float, DiscriminatorOutput]]
) -> Tensor:
    """Hinge loss: scores above 1 for real samples, and below -1 for generated ones."""
    return torch.stack(
        [
            weight * (F.relu(1 - rs).mean() + F.relu(1 + ms).mean())
            for (weight, (rs, _)), (_, (ms, _)) in zip(real, generated, strict=True)
        ]
    ).sum()
