"""Tokens to mel by optimal-transport conditional flow matching (Lipman et al., section 4.1; CosyVoice, 2.3).

Names of tensors end in their dimensions: B utterances, L tokens, T frames, M mels (or other features of a
frame), D width. Modules have the names of CosyVoice's state dict.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.vocoder.conformer import Encoder
from stages.train.vocoder.factor_embedding import FactorEmbedding
from stages.train.vocoder.layers import Conv, Mish, Norm
from stages.train.vocoder.past import Past, extended
from stages.train.vocoder.shape import BLOCK, SPEAKER, FlowShape, block_of, frames_of
from stages.train.vocoder.unet import UNet

SIGMA = 1e-6
"""Standard deviation of the noise that remains at time 1."""
DROPPED = 0.2
"""Share of the utterances that are trained without conditions."""
STEPS = 10


@dataclass(frozen=True)
class Conditions:
    """Conditions of a mel; missing ones are zeros."""

    tokens_BMT: Tensor
    """The encoder's prediction from the tokens, at the frame rate of mels."""
    speaker_BM: Tensor
    prompt_BMT: Tensor
    """The mel of the prompt, followed by zeros."""

    def kept(self, kept_B: Tensor) -> "Conditions":
        """Zeros for the utterances that are not kept."""
        return Conditions(
            self.tokens_BMT * kept_B[:, None, None],
            self.speaker_BM * kept_B[:, None],
            self.prompt_BMT * kept_B[:, None, None],
        )


class Regulator(nn.Module):
    """From the rate of tokens to that of mel frames: interpolation, then convolutions."""

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        causal, features = shape.past is not None, shape.features
        self.causal = causal
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [Conv(features, features, 3, causal), Norm(1, features, causal), Mish()]
        self.model = nn.Sequential(*layers, Conv(features, features, 1, causal))

    def forward(
        self, x_BML: Tensor, past: Past | None = None, first: int = 0, prompt: tuple[int, int] = (0, 0)
    ) -> Tensor:
        """x_BMT of whole utterances, or of the block that starts at token `first`. `prompt`: tokens and
        frames of a prompt before the utterance."""
        if self.causal:
            x_BMT = interpolated(extended(past, self, x_BML, 1), first)
        else:
            tokens, frames = prompt
            parts = [(x_BML[..., :tokens], frames)] * bool(tokens)
            parts.append((x_BML[..., tokens:], frames_of(x_BML.shape[2] - tokens)))
            x_BMT = torch.cat([F.interpolate(x, size=size, mode="linear") for x, size in parts], 2)
        for layer in self.model:
            x_BMT = layer(x_BMT, past) if isinstance(layer, Conv) else layer(x_BMT)
        return x_BMT


def interpolated(x_BML: Tensor, first: int) -> Tensor:
    """x_BMT, interpolated between neighbouring tokens, such that no frame depends on the next block.

    `x_BML` are the token before `first` and the tokens from `first` on.
    """
    tokens = x_BML.shape[2] - 1
    at_T = torch.arange(frames_of(first), frames_of(first + tokens), device=x_BML.device)
    position_T = ((at_T + 0.5) * (640 / 1323) - 0.5).clamp(min=0)
    low_T = position_T.floor().long()
    end_T = ((block_of(at_T) + 1) * BLOCK - 1).clamp(max=first + tokens - 1)
    high_T = torch.minimum(low_T + 1, end_T)
    low_T = torch.minimum(low_T, end_T)
    share_T = (position_T - low_T).clamp(0, 1)
    low_BMT, high_BMT = (x_BML[:, :, at - first + 1] for at in (low_T, high_T))
    return low_BMT + share_T * (high_BMT - low_BMT)


class Solver(nn.Module):
    """Wraps the U-Net for the names of the state dict."""

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.estimator = UNet(shape)


class Flow(nn.Module):
    """`MaskedDiffWithXvec` of CosyVoice. Built under `torch.device("meta")` it takes no memory."""

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.shape = shape
        self.input_embedding = (
            FactorEmbedding(shape) if shape.factors else nn.Embedding(shape.tokens, shape.width)
        )
        if shape.prompted:
            self.spk_embed_affine_layer = nn.Linear(SPEAKER, shape.features)
        self.encoder = Encoder(shape)
        self.encoder_proj = nn.Linear(shape.width, shape.features)
        self.length_regulator = Regulator(shape)
        self.decoder = Solver(shape)
        if shape.mean is None:
            self.register_buffer("means", torch.zeros(shape.features, 1))
            self.register_buffer("scales", torch.ones(shape.features, 1))

    def encode(
        self,
        tokens_BL: Tensor,
        lengths_B: Tensor | None = None,
        ahead: int = 0,
        past: Past | None = None,
        first: int = 0,
        prompt: tuple[int, int] = (0, 0),
    ) -> Tensor:
        """The prediction x_BMT from tokens: of whole utterances, or, given a past, of one block from token
        `first` on, followed by `ahead` more tokens of look-ahead. `prompt`: tokens and frames of a prompt
        before the utterance."""
        x_BLD = self.encoder(self.input_embedding(tokens_BL), lengths_B, ahead, past)
        x_BML = self.encoder_proj(x_BLD).transpose(1, 2)
        return cast(Tensor, self.length_regulator(x_BML, past, first, prompt))

    def speaker(self, vector_BS: Tensor) -> Tensor:
        """speaker_BM of speaker vectors of any length. Raises ValueError if it has a single voice."""
        if not self.shape.prompted:
            raise ValueError("this vocoder has a single voice: it takes neither a speaker nor a prompt")
        return cast(Tensor, self.spk_embed_affine_layer(F.normalize(vector_BS, dim=1)))

    def velocity(
        self, x_BMT: Tensor, t_B: Tensor, conditions: Conditions, past: Past | None = None
    ) -> Tensor:
        inputs = [x_BMT, conditions.tokens_BMT]
        if self.shape.prompted:
            inputs += [conditions.speaker_BM[:, :, None].expand_as(x_BMT), conditions.prompt_BMT]
        v_BMT = cast(Tensor, self.decoder.estimator(torch.cat(inputs, 1), t_B, past))
        return v_BMT + conditions.tokens_BMT - x_BMT if self.shape.residual else v_BMT

    def normalised(self, mel_BMT: Tensor) -> Tensor:
        mean, scale = self._normalisation()
        return (mel_BMT - mean) / scale

    def restored(self, x_BMT: Tensor) -> Tensor:
        mean, scale = self._normalisation()
        return x_BMT * scale + mean

    def normalise_by(self, statistics_2M: Tensor) -> None:
        """Set the mean and the standard deviation of each feature."""
        for buffer, values_M in zip((self.means, self.scales), statistics_2M, strict=True):
            cast(Tensor, buffer).copy_(values_M[:, None])

    def _normalisation(self) -> tuple[Tensor | float, Tensor | float]:
        if self.shape.mean is None:
            return cast(Tensor, self.means), cast(Tensor, self.scales)
        return self.shape.mean, self.shape.scale


def flow_matching_loss(
    flow: Flow, mel_BMT: Tensor, is_frame_BT: Tensor, conditions: Conditions, t_B: Tensor, noise_BMT: Tensor
) -> Tensor:
    """Mean squared error of the velocity over frames that are not padding (CosyVoice, equations 3 to 7).

    `mel_BMT` is normalised. The path is straight from noise to mel: at time t it is at
    (1 - (1 - sigma) t) noise + t mel, and its velocity is mel - (1 - sigma) noise.
    """
    t_B11 = t_B[:, None, None]
    at_BMT = (1 - (1 - SIGMA) * t_B11) * noise_BMT + t_B11 * mel_BMT
    target_BMT = mel_BMT - (1 - SIGMA) * noise_BMT
    error_BT = (flow.velocity(at_BMT, t_B, conditions) - target_BMT).square().mean(1)
    return (error_BT * is_frame_BT).sum() / is_frame_BT.sum()


def prior_loss(encoded_BMT: Tensor, mel_BMT: Tensor, is_frame_BT: Tensor) -> Tensor:
    """Mean squared error of the encoder's own prediction over frames that are not padding (Grad-TTS, section
    3.3), which trains the encoder directly."""
    error_BT = (encoded_BMT - mel_BMT).square().mean(1)
    return (error_BT * is_frame_BT).sum() / is_frame_BT.sum()


def time_steps(steps: int) -> list[float]:
    """Times from 0 to 1, spaced by 1 - cos, so that the first steps are the shortest."""
    return [1 - math.cos(math.pi / 2 * n / steps) for n in range(steps + 1)]


def solve(
    flow: Flow,
    noise_BMT: Tensor,
    conditions: Conditions,
    steps: int = STEPS,
    guidance: float | None = None,
    pasts: list[Past] | None = None,
) -> Tensor:
    """Euler's method from noise to a normalised mel, with classifier-free guidance.

    v = (1 + guidance) v(conditions) - guidance v(no conditions); without `guidance`, that of the shape. With
    `pasts`, one per step, it continues after earlier blocks.
    """
    twice = torch.cat([torch.ones(len(noise_BMT)), torch.zeros(len(noise_BMT))]).to(noise_BMT)
    both = Conditions(
        *(torch.cat([c, c]) for c in (conditions.tokens_BMT, conditions.speaker_BM, conditions.prompt_BMT))
    ).kept(twice)
    guidance = flow.shape.guidance if guidance is None else guidance
    times = time_steps(steps)
    x_BMT = noise_BMT
    for n, (now, then) in enumerate(pairwise(times)):
        t = twice.new_full(twice.shape, now)
        velocity = flow.velocity(torch.cat([x_BMT, x_BMT]), t, both, pasts[n] if pasts else None)
        given_BMT, free_BMT = velocity.chunk(2)
        x_BMT = x_BMT + (then - now) * ((1 + guidance) * given_BMT - guidance * free_BMT)
    return x_BMT
