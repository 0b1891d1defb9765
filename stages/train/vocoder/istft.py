"""Mel to wave: a network predicts spectra at the frame rate of mels, followed by the inverse STFT (Vocos).

Names of tensors end in their dimensions: B utterances, T frames, C channels, M mels, F bins, W samples of a
window, N samples.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.vocoder.convnext import ConvNeXt
from stages.train.vocoder.harmonic_source import AHEAD as SOURCE_AHEAD
from stages.train.vocoder.harmonic_source import source_spectra
from stages.train.vocoder.noise import noise
from stages.train.vocoder.past import Past
from stages.train.vocoder.pitch_head import PitchHead, pitch_hz
from stages.train.vocoder.shape import HOP, MELS, WINDOW, WaveShape

AHEAD = 3
"""Frames of look-ahead of the first convolution; the others are causal."""
BINS = WINDOW // 2 + 1
MAX_MAGNITUDE = 100.0
"""Upper limit of a bin's magnitude."""
EDGE = (WINDOW - HOP) // 2
"""Samples by which a window extends beyond its frame, on each side."""


class Generator(nn.Module):
    def __init__(self, shape: WaveShape) -> None:
        super().__init__()
        self.shape = shape
        self.before = SOURCE_AHEAD if shape.pitch else 0
        """Frames that are generated before the first one, and not used, so that its source is complete."""
        self.embed = nn.Conv1d(MELS, shape.width, 2 * AHEAD + 1)
        self.norm = nn.LayerNorm(shape.width)
        self.layers = nn.ModuleList(
            ConvNeXt(shape.width, shape.ffn, shape.layers) for _ in range(shape.layers)
        )
        self.final_norm = nn.LayerNorm(shape.width)
        self.out = nn.Linear(shape.width, (3 if shape.pitch else 2) * BINS)
        if shape.pitch:
            self.pitch = PitchHead(shape.pitch)

    def forward(
        self, mel_BMT: Tensor, hz_BT: Tensor | None = None, noise_BHT: Tensor | None = None
    ) -> Tensor:
        """Waveforms samples_BN of whole mels, N = 256 T. The pitch, 0 where unvoiced, and the noise of the
        source are those given, or its own."""
        x_BMT = F.pad(self.normalised(mel_BMT), (AHEAD + self.before, AHEAD))
        if hz_BT is not None:
            hz_BT = F.pad(hz_BT, (0, self.before))
        frames_BTW = self.frames(x_BMT, hz_BT=hz_BT, noise_BHT=noise_BHT)
        first = EDGE + HOP * self.before
        return overlapped(frames_BTW)[:, first : first + HOP * mel_BMT.shape[2]]

    def normalised(self, mel_BMT: Tensor) -> Tensor:
        return (mel_BMT - self.shape.mean) / self.shape.scale

    def frames(
        self,
        x_BMT: Tensor,
        past: Past | None = None,
        first: int = 0,
        hz_BT: Tensor | None = None,
        noise_BHT: Tensor | None = None,
    ) -> Tensor:
        """Windowed samples frames_BTW of normalised mels, which have three more frames on each side.

        With a harmonic source, its pitch and its noise are those of `before` frames later, of which the first
        one has the number `first`.
        """
        x_BCT = self.norm(self.embed(x_BMT).transpose(1, 2)).transpose(1, 2)
        for layer in self.layers:
            x_BCT = layer(x_BCT, past)
        output_BTF = self.out(self.final_norm(x_BCT.transpose(1, 2))).float()
        magnitude_BTF, phase_BTF, *breath = output_BTF.split(BINS, -1)
        spectrum_BTF = torch.polar(_magnitude(magnitude_BTF), phase_BTF)
        if self.shape.pitch:
            if hz_BT is None:
                hz_BT = pitch_hz(*self.pitch(x_BMT[..., AHEAD + self.before - 1 :], past))
            if noise_BHT is None:
                noise_BHT = noise(0, first, first + hz_BT.shape[1], HOP).to(hz_BT).expand(len(hz_BT), -1, -1)
            pulses_BTF, noise_BTF = source_spectra(hz_BT, noise_BHT, past)
            spectrum_BTF = spectrum_BTF * pulses_BTF + _magnitude(breath[0]) * noise_BTF
        window = torch.hann_window(WINDOW, device=x_BMT.device)
        return cast(Tensor, torch.fft.irfft(spectrum_BTF, WINDOW) * window)


def _magnitude(log_BTF: Tensor) -> Tensor:
    return log_BTF.exp().clamp(max=MAX_MAGNITUDE)


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
