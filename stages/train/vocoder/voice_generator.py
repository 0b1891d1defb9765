"""Latents to wave: the generator of a piper voice (HiFi-GAN, section 2.2), whole or streamed.

Names of tensors end in their dimensions: B utterances, T frames, M latents, C channels, N samples. Modules
have the names of the voice's file, which has weight normalisation folded into its tensors.
"""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.errors import SetupError
from stages.train.vocoder.shape import HOP, LATENTS, VoiceShape
from stages.train.vocoder.voice_file import generator_weights, voice_file
from stages.train.weights import sha256_of

CHANNELS = 256
UP = (8, 8, 4)
KERNELS = (3, 5, 7)
DILATIONS = ((1, 2), (2, 6), (3, 12))
"""Of the two convolutions with each kernel."""
REACH = 11
"""Frames before and after its own that a sample depends on."""


class VoiceBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2)
            for d in dilations
        )

    def forward(self, x_BCT: Tensor) -> Tensor:
        for conv in self.convs:
            x_BCT = x_BCT + conv(F.leaky_relu(x_BCT, 0.1))
        return x_BCT


class VoiceGenerator(nn.Module):
    """Its weights are those of the voice's file, and are not saved with a vocoder."""

    def __init__(self, shape: VoiceShape) -> None:
        super().__init__()
        self.shape = shape
        widths = [CHANNELS // 2**n for n in range(len(UP) + 1)]
        self.conv_pre = nn.Conv1d(LATENTS, widths[0], 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(before, after, 2 * up, up, padding=up // 2)
            for before, after, up in zip(widths[:-1], widths[1:], UP, strict=True)
        )
        self.resblocks = nn.ModuleList(
            VoiceBlock(width, kernel, dilations)
            for width in widths[1:]
            for kernel, dilations in zip(KERNELS, DILATIONS, strict=True)
        )
        self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3, bias=False)

    def forward(self, latents_BMT: Tensor) -> Tensor:
        """Waveforms samples_BN, N = 256 T."""
        x_BCT = self.conv_pre(latents_BMT)
        for n, up in enumerate(self.ups):
            x_BCT = up(F.leaky_relu(x_BCT, 0.1))
            blocks = self.resblocks[len(KERNELS) * n : len(KERNELS) * (n + 1)]
            x_BCT = torch.stack([block(x_BCT) for block in blocks]).mean(0)
        return cast(Tensor, self.conv_post(F.leaky_relu(x_BCT))[:, 0].tanh())

    def read(self, voice: Path) -> None:
        """Take the weights from a voice, a file or a folder. Raises SetupError if it is another voice."""
        file = voice_file(voice)
        if (found := sha256_of(file)) != self.shape.sha256:
            raise SetupError(
                f"{file} is not the voice {self.shape.voice} that this vocoder was trained for "
                f"(sha256 {found[:12]}, not {self.shape.sha256[:12]})"
            )
        weights, own = generator_weights(file), self.state_dict()
        for name in sorted(own.keys() | weights.keys()):
            if name not in own or name not in weights or own[name].shape != weights[name].shape:
                raise SetupError(f"{file}: the generator of this voice has other sizes, at {name}")
        self.load_state_dict(weights)


class VoiceStream:
    """The generator, for latents that arrive piece by piece."""

    def __init__(self, generator: VoiceGenerator) -> None:
        self._generator = generator
        self._seen_1MT = torch.zeros(1, LATENTS, 0, device=generator.conv_pre.weight.device)
        self._spoken = 0
        """Of the frames seen, how many are kept only because later ones depend on them."""

    def push(self, latents_1MT: Tensor) -> Tensor:
        """samples_N that are final after some more frames."""
        self._seen_1MT = torch.cat([self._seen_1MT, latents_1MT], -1)
        final = self._seen_1MT.shape[-1] - REACH
        if final <= self._spoken:
            return torch.zeros(0)
        samples_N = self._samples(final)
        first = max(0, final - REACH)
        self._seen_1MT, self._spoken = self._seen_1MT[..., first:], final - first
        return samples_N

    def finish(self) -> Tensor:
        """The remaining samples_N."""
        frames = self._seen_1MT.shape[-1]
        return self._samples(frames) if frames > self._spoken else torch.zeros(0)

    def _samples(self, end: int) -> Tensor:
        samples_1N = cast(Tensor, self._generator(self._seen_1MT))
        return samples_1N[0, HOP * self._spoken : HOP * end].cpu()
