"""HiFT, the public mel-to-wave network: a source of harmonics, filtered, and a short inverse transform.

HiFTNet (Li et al.) as CosyVoice has it; inference only. Names of tensors end in their dimensions: B
utterances, C channels, T frames, M mels, H harmonics, F bins, N samples. Modules carry the names of
CosyVoice's state dict, with the weights of normalised convolutions multiplied out.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.vocoder.shape import HOP, MELS, RATE, HiFTShape

UP = (8, 8)
TRANSFORM, STEP = 16, 4
"""Samples of the short transform's window, and between two."""
BINS = TRANSFORM // 2 + 1
KERNELS = (3, 7, 11)
SOURCE_KERNELS = (7, 11)
DILATIONS = (1, 3, 5)
AMPLITUDE, BREATH = 0.1, 0.003
"""Of harmonics, and deviation of the noise on them."""
VOICED = 10.0
"""Hz; below, there is no voice."""
LOUDEST = 0.99


class Snake(nn.Module):
    """x + sin(a x)^2 / a (Ziyin et al.)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x_BCT: Tensor) -> Tensor:
        alpha = self.alpha[:, None]
        return x_BCT + (alpha * x_BCT).sin().square() / (alpha + 1e-9)


class ResBlock(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()

        def convs(dilations: tuple[int, ...]) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2)
                for d in dilations
            )

        self.convs1, self.convs2 = convs(DILATIONS), convs((1,) * len(DILATIONS))
        self.activations1, self.activations2 = (
            nn.ModuleList(Snake(channels) for _ in DILATIONS) for _ in range(2)
        )

    def forward(self, x_BCT: Tensor) -> Tensor:
        layers = zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True)
        for snake1, conv1, snake2, conv2 in layers:
            x_BCT = x_BCT + conv2(snake2(conv1(snake1(x_BCT))))
        return x_BCT


class PitchPredictor(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n in range(5):
            layers += [nn.Conv1d(channels if n else MELS, channels, 3, padding=1), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel_BMT: Tensor) -> Tensor:
        """pitch_BT in Hz."""
        return cast(Tensor, self.classifier(self.condnet(mel_BMT).transpose(1, 2))[..., 0].abs())


class HarmonicSource(nn.Module):
    """Harmonics of the pitch where there is voice, noise elsewhere, mixed to one signal."""

    def __init__(self, harmonics: int) -> None:
        super().__init__()
        self.l_linear = nn.Linear(harmonics + 1, 1)

    def forward(self, pitch_BT: Tensor, seed: int) -> Tensor:
        """source_BN"""
        generator = torch.Generator().manual_seed(seed)
        pitch_BN = pitch_BT.repeat_interleave(HOP, 1)
        order_H = torch.arange(1, self.l_linear.in_features + 1, device=pitch_BT.device)
        # In double precision: the sum over minutes of samples would drift.
        turns_BHN = (pitch_BN.double()[:, None] * order_H[:, None] / RATE).cumsum(-1) % 1
        phase_H = (torch.rand(len(order_H), generator=generator) * 2 - 1) * math.pi
        phase_H[0] = 0
        waves_BHN = AMPLITUDE * (2 * math.pi * turns_BHN + phase_H.to(turns_BHN)[:, None]).sin().float()
        voiced_B1N = (pitch_BN > VOICED).float()[:, None]
        spread_B1N = voiced_B1N * BREATH + (1 - voiced_B1N) * AMPLITUDE / 3
        breath_BHN = spread_B1N * torch.randn(waves_BHN.shape, generator=generator).to(waves_BHN)
        mixed_BN1 = self.l_linear((waves_BHN * voiced_B1N + breath_BHN).transpose(1, 2))
        return cast(Tensor, mixed_BN1[..., 0].tanh())


class HiFT(nn.Module):
    """`HiFTGenerator` of CosyVoice. Made with `torch.device("meta")` it takes no memory."""

    def __init__(self, shape: HiFTShape) -> None:
        super().__init__()
        self.shape = shape
        widths = [shape.channels // 2**n for n in range(len(UP) + 1)]
        self.m_source = HarmonicSource(shape.harmonics)
        self.conv_pre = nn.Conv1d(MELS, widths[0], 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(before, after, 2 * up, up, padding=up // 2)
            for before, after, up in zip(widths[:-1], widths[1:], UP, strict=True)
        )
        down = (UP[1], 1)
        self.source_downs = nn.ModuleList(
            nn.Conv1d(2 * BINS, width, 2 * rate if rate > 1 else 1, rate, padding=rate // 2)
            for width, rate in zip(widths[1:], down, strict=True)
        )
        self.source_resblocks = nn.ModuleList(
            ResBlock(width, kernel) for width, kernel in zip(widths[1:], SOURCE_KERNELS, strict=True)
        )
        self.resblocks = nn.ModuleList(ResBlock(width, kernel) for width in widths[1:] for kernel in KERNELS)
        self.conv_post = nn.Conv1d(widths[-1], 2 * BINS, 7, padding=3)
        self.f0_predictor = PitchPredictor(shape.predictor)

    def forward(self, mel_BMT: Tensor, seed: int = 0) -> Tensor:
        """Waveforms samples_BN of mels, N = 256 T; `seed` draws the noise in them."""
        source_BN = self.m_source(self.f0_predictor(mel_BMT), seed)
        window = torch.hann_window(TRANSFORM, device=mel_BMT.device)
        spectrum_BFT = torch.stft(source_BN, TRANSFORM, STEP, window=window, return_complex=True)
        source_BCT = torch.cat([spectrum_BFT.real, spectrum_BFT.imag], 1)
        x_BCT = self.conv_pre(mel_BMT)
        for n, up in enumerate(self.ups):
            x_BCT = up(F.leaky_relu(x_BCT, 0.1))
            if n == len(self.ups) - 1:
                x_BCT = F.pad(x_BCT, (1, 0), mode="reflect")
            x_BCT = x_BCT + self.source_resblocks[n](self.source_downs[n](source_BCT))
            filters = self.resblocks[len(KERNELS) * n : len(KERNELS) * (n + 1)]
            x_BCT = torch.stack([block(x_BCT) for block in filters]).mean(0)
        x_BCT = self.conv_post(F.leaky_relu(x_BCT))
        magnitude_BFT = x_BCT[:, :BINS].exp().clamp(max=100)
        said_BFT = torch.polar(magnitude_BFT, x_BCT[:, BINS:].sin())
        samples_BN = torch.istft(said_BFT, TRANSFORM, STEP, window=window)
        return samples_BN.clamp(-LOUDEST, LOUDEST)
