"""The U-Net that predicts the velocity of a noisy mel: ResNet-1D and transformer blocks (Matcha-TTS, 3.3).

Names of tensors end in their dimensions: B utterances, C channels, T frames, H heads, K width of a head.
Modules have the names of CosyVoice's state dict.
"""

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.vocoder.layers import Conv, Mish, Norm
from stages.train.vocoder.past import Past, seen_blocks
from stages.train.vocoder.shape import FlowShape, block_of

GROUPS = 8


class ConvBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, causal: bool) -> None:
        super().__init__()
        self.block = nn.Sequential(Conv(inputs, outputs, 3, causal), Norm(GROUPS, outputs, causal), Mish())

    def forward(self, x_BCT: Tensor, past: Past | None = None) -> Tensor:
        conv, norm, mish = self.block
        return cast(Tensor, mish(norm(conv(x_BCT, past))))


class ResNetBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, time: int, causal: bool) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Mish(), nn.Linear(time, outputs))
        self.block1 = ConvBlock(inputs, outputs, causal)
        self.block2 = ConvBlock(outputs, outputs, causal)
        self.res_conv = Conv(inputs, outputs, 1, causal)

    def forward(self, x_BCT: Tensor, time_BC: Tensor, past: Past | None = None) -> Tensor:
        h_BCT = self.block1(x_BCT, past) + self.mlp(time_BC)[:, :, None]
        return cast(Tensor, self.block2(h_BCT, past) + self.res_conv(x_BCT))


class UNetAttention(nn.Module):
    def __init__(self, channels: int, heads: int, head: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, heads * head, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(heads * head, channels))

    def forward(self, x_BTC: Tensor, seen_TT: Tensor | None, past: Past | None = None) -> Tensor:
        q_BHTK, k_BHTK, v_BHTK = (
            project(x_BTC).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        if past is not None:
            k_BHTK, v_BHTK = past.blocks((self, "k"), k_BHTK), past.blocks((self, "v"), v_BHTK)
        o_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, attn_mask=seen_TT)
        return cast(Tensor, self.to_out(o_BHTK.transpose(1, 2).flatten(2)))


class UNetFeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = nn.Module()
        inner.proj = nn.Linear(channels, 4 * channels)
        # The second module is a dropout in the public network.
        self.net = nn.ModuleList([inner, nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x_BTC: Tensor) -> Tensor:
        inner, _, out = self.net
        return cast(Tensor, out(F.gelu(inner.proj(x_BTC))))  # type: ignore[operator]


class TransformerBlock(nn.Module):
    def __init__(self, channels: int, shape: FlowShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = UNetAttention(channels, shape.unet_heads, shape.head)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = UNetFeedForward(channels)

    def forward(self, x_BTC: Tensor, seen_TT: Tensor | None, past: Past | None = None) -> Tensor:
        x_BTC = x_BTC + self.attn1(self.norm1(x_BTC), seen_TT, past)
        return cast(Tensor, x_BTC + self.ff(self.norm3(x_BTC)))


class Resample(nn.Module):
    """Halves or doubles the frame rate."""

    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.conv = (
            nn.ConvTranspose1d(channels, channels, 4, 2, 1) if up else nn.Conv1d(channels, channels, 3, 2, 1)
        )

    def forward(self, x_BCT: Tensor, past: Past | None = None) -> Tensor:
        return cast(Tensor, self.conv(x_BCT))


class TimeMLP(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(inputs, outputs)
        self.linear_2 = nn.Linear(outputs, outputs)

    def forward(self, t_B: Tensor) -> Tensor:
        encoding_BC = time_encoding(t_B, self.linear_1.in_features)
        return cast(Tensor, self.linear_2(F.silu(self.linear_1(encoding_BC))))


def time_encoding(t_B: Tensor, width: int) -> Tensor:
    """Sines, then cosines of a time in 0..1, scaled to a thousand steps."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=t_B.device) * (-math.log(10_000.0) / (half - 1)))
    angles = 1000 * t_B[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)


class Level(nn.ModuleList):
    """The blocks at one frame rate; `after` leads to the next level."""

    def __init__(self, inputs: int, outputs: int, shape: FlowShape, after: nn.Module | None = None) -> None:
        resnet = ResNetBlock(inputs, outputs, 4 * shape.channels[0], shape.past is not None)
        transformers = nn.ModuleList(TransformerBlock(outputs, shape) for _ in range(shape.blocks))
        super().__init__([resnet, transformers, *([after] if after else [])])

    def forward(self, x_BCT: Tensor, time_BC: Tensor, seen_TT: Tensor | None, past: Past | None) -> Tensor:
        resnet, transformers = self[0], cast(nn.ModuleList, self[1])
        x_BTC = resnet(x_BCT, time_BC, past).transpose(1, 2)
        for block in transformers:
            x_BTC = block(x_BTC, seen_TT, past)
        return cast(Tensor, x_BTC.transpose(1, 2))


class UNet(nn.Module):
    """`ConditionalDecoder` of CosyVoice."""

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.past = shape.past
        causal = shape.past is not None
        channels = shape.channels
        # The noisy mel and the prediction from the tokens; the speaker and the prompt's mel.
        inputs = (4 if shape.prompted else 2) * shape.features
        self.time_mlp = TimeMLP(inputs, 4 * channels[0])
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        for n, (before, outputs) in enumerate(pairwise([inputs, *channels])):
            last = n == len(channels) - 1
            after = Conv(outputs, outputs, 3, causal) if last else Resample(outputs, up=False)
            self.down_blocks.append(Level(before, outputs, shape, after))
        self.mid_blocks = nn.ModuleList(Level(channels[-1], channels[-1], shape) for _ in range(shape.middle))
        for n, (before, outputs) in enumerate(pairwise([*channels[::-1], channels[0]])):
            last = n == len(channels) - 1
            after = Conv(outputs, outputs, 3, causal) if last else Resample(outputs, up=True)
            self.up_blocks.append(Level(2 * before, outputs, shape, after))
        self.final_block = ConvBlock(channels[0], channels[0], causal)
        self.final_proj = Conv(channels[0], shape.features, 1, causal)

    def forward(self, x_BCT: Tensor, t_B: Tensor, past: Past | None = None) -> Tensor:
        """The velocity of a noisy mel, v_BMT, from all inputs x_BCT at time t_B in 0..1."""
        time_BC = self.time_mlp(t_B)
        seen_TT = self._seen(x_BCT) if past is None else None
        skips: list[Tensor] = []
        for level in cast(list[Level], self.down_blocks):
            skips.append(level(x_BCT, time_BC, seen_TT, past))
            x_BCT = level[2](skips[-1], past)
        for level in cast(list[Level], self.mid_blocks):
            x_BCT = level(x_BCT, time_BC, seen_TT, past)
        for level in cast(list[Level], self.up_blocks):
            skip_BCT = skips.pop()
            joined_BCT = torch.cat([x_BCT[:, :, : skip_BCT.shape[2]], skip_BCT], 1)
            x_BCT = level[2](level(joined_BCT, time_BC, seen_TT, past), past)
        return cast(Tensor, self.final_proj(self.final_block(x_BCT, past)))

    def _seen(self, x_BCT: Tensor) -> Tensor | None:
        if self.past is None:
            return None
        return seen_blocks(block_of(torch.arange(x_BCT.shape[2], device=x_BCT.device)), self.past)
