"""Mel to wave: a network predicts spectra at the frame rate of mels, followed by the inverse STFT (Vocos).

Names of tensors end in their dimensions: B utterances, T frames, C channels, M mels, F bins, W samples of a
window, N samples.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.vocoder.layers import Conv
from stages.train.vocoder.past import Past
from stages.train.vocoder.shape import HOP, MELS, WINDOW, WaveShape

AHEAD = 3
"""Frames of look-ahead of the first convolution; the others are causal."""
MAX_MAGNITUDE = 100.0
"""Upper limit of a bin's magnitude."""
EDGE = (WINDOW - HOP) // 2
"""Samples by which a window extends beyond its frame, on each side."""


class ConvNeXt(nn.Module):
    """A depthwise convolution followed by a perceptron (Vocos, section 3.2)."""

    def __init__(self, shape: WaveShape) -> None:
        super().__init__()
        self.dwconv = Conv(shape.width, shape.width, 7, causal=True, groups=shape.width)
        self.norm = nn.LayerNorm(shape.width)
        self.pwconv1 = nn.Linear(shape.width, shape.ffn)
        self.pwconv2 = nn.Linear(shape.ffn, shape.width)
        self.gamma = nn.Parameter(torch.full((shape.width,), 1 / shape.layers))

    def forward(self, x_BCT: Tensor, past: Past | None = None) -> Tensor:
        x_BTC = self.norm(self.dwconv(x_BCT, past).transpose(1, 2))
        x_BTC = self.gamma * self.pwconv2(F.gelu(self.pwconv1(x_BTC)))
        return x_BCT + cast(Tensor, x_BTC.transpose(1, 2))


class Generator(nn.Module):
    def __init__(self, shape: WaveShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Conv1d(MELS, shape.width, 2 * AHEAD + 1)
        self.norm = nn.LayerNorm(shape.width)
        self.layers = nn.ModuleList(ConvNeXt(shape) for _ in range(shape.layers))
        self.final_norm = nn.LayerNorm(shape.width)
        self.out = nn.Linear(shape.width, WINDOW + 2)

    def forward(self, mel_BMT: Tensor) -> Tensor:
        """Waveforms samples_BN of whole mels, N = 256 T."""
        frames_BTW = self.frames(F.pad(self.normalised(mel_BMT), (AHEAD, AHEAD)))
        return overlapped(frames_BTW)[:, EDGE : EDGE + HOP * mel_BMT.shape[2]]

    def normalised(self, mel_BMT: Tensor) -> Tensor:
        return (mel_BMT - self.shape.mean) / self.shape.scale

    def frames(self, x_BMT: Tensor, past: Past | None = None) -> Tensor:
        """Windowed samples frames_BTW of normalised mels, which have three more frames on each side."""
        x_BCT = self.norm(self.embed(x_BMT).transpose(1, 2)).transpose(1, 2)
        for layer in self.layers:
            x_BCT = layer(x_BCT, past)
        output_BTF = self.out(self.final_norm(x_BCT.transpose(1, 2))).float()
        magnitude_BTF, phase_BTF = output_BTF.chunk(2, -1)
        spectrum_BTF = torch.polar(magnitude_BTF.exp().clamp(max=MAX_MAGNITUDE), phase_BTF)
        window = torch.hann_window(WINDOW, device=x_BMT.device)
        return cast(Tensor, torch.fft.irfft(spectrum_BTF, WINDOW) * window)


def overlapped(frames_BTW: Tensor) -> Tensor:
    """samples_BN of windowed frames, N = 256 T + 768, normalised by the sum of the squared windows."""
    sums_BN, weights_N = overlap_sums(frames_BTW)
    return sums_BN / weights_N.clamp(min=1e-8)


def overlap_sums(frames_BTW: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of frames placed 256 samples apart, and of the squares of their windows."""
    frames = frames_BTW.shape[1]
    length = HOP * (frames - 1) + WINDOW

    def overlap_add(x_BTW: Tensor) -> Tensor:
        return F.fold(x_BTW.transpose(1, 2), (1, length), (1, WINDOW), stride=(1, HOP))[:, 0, 0]

    squares_W = torch.hann_window(WINDOW, device=frames_BTW.device).square()
    return overlap_add(frames_BTW), overlap_add(squares_W.expand(1, frames, WINDOW))[0]
