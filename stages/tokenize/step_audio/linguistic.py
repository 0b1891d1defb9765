"""The linguistic encoder: Paraformer's, streaming form, over all chunks of all utterances at once.

A chunk sees nine rows: five old ones and its four new ones. It attends to these and, in each layer, to what
the four chunks before it computed there of their first four rows. Chunks of a layer so depend on the layer
below alone, and one pass takes any number of them: N chunks in a row, the fifth utterance's behind the
fourth's. W = 9 rows, D the encoder's width.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.tokenize.step_audio.layers import Conv1d, Linear

OLD = 5
NEW = 4
WINDOW = OLD + NEW
BACK = 4
"""Chunks before its own that a chunk attends to."""
KEPT = 4
"""Rows of each of them."""


@dataclass(frozen=True)
class LinguisticSizes:
    inputs: int
    width: int
    heads: int
    hidden: int
    """Of the feed-forward layers."""
    blocks: int
    kernel: int
    """Rows that the convolution over values spans."""


class LinguisticEncoder(nn.Module):
    """Parameters have the names of the checkpoint's `encoder.*`."""

    def __init__(self, sizes: LinguisticSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoders0 = nn.ModuleList([_Layer(sizes.inputs, sizes)])
        self.encoders = nn.ModuleList([_Layer(sizes.width, sizes) for _ in range(sizes.blocks - 1)])
        self.after_norm = nn.LayerNorm(sizes.width, eps=1e-12)

    def beginning(self) -> Tensor:
        """`past` of the first chunk, [layers, 4, 4, 2D]."""
        first: _Layer = self.encoders0[0]  # type: ignore[assignment]
        return first.self_attn.linear_q_k_v.weight.new_zeros(
            self.sizes.blocks, BACK, KEPT, 2 * self.sizes.width
        )

    def forward(
        self, windows: Tensor, chunk: Tensor, past_end: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Encoded new rows, [N, 4, D], and the `past` of the chunk that comes next.

        windows: [N, 9, inputs], scaled and with positions; zeros before an utterance's first row.
        chunk: [N], which of its utterance each is, from 0.
        past_end: bool [N, 9], rows behind an utterance's last one.
        past: what the four chunks before these keep in each layer, [layers, 4, 4, 2D].
        """
        older = chunk[:, None] >= torch.arange(BACK, 0, -1, device=chunk.device)
        seen = torch.cat([older.repeat_interleave(KEPT, dim=1), ~past_end], dim=1)
        x, keeps = windows, []
        for layer, kept in zip([*self.encoders0, *self.encoders], past, strict=True):
            x, keep = layer(x, kept, seen[:, None, None], past_end[:, :, None])
            keeps.append(keep)
        return self.after_norm(x[:, OLD:]), torch.stack(keeps)


class _Layer(nn.Module):
    def __init__(self, inputs: int, sizes: LinguisticSizes) -> None:
        super().__init__()
        self.self_attn = _Attention(inputs, sizes)
        self.feed_forward = _FeedForward(sizes)
        self.norm1 = nn.LayerNorm(inputs, eps=1e-12)
        self.norm2 = nn.LayerNorm(sizes.width, eps=1e-12)
        self.residual = inputs == sizes.width

    def forward(self, x: Tensor, kept: Tensor, seen: Tensor, past_end: Tensor) -> tuple[Tensor, Tensor]:
        attended, keep = self.self_attn(self.norm1(x), kept, seen, past_end)
        x = x + attended if self.residual else attended.float()
        return x + self.feed_forward(self.norm2(x)), keep


class _Attention(nn.Module):
    """Self-attention with a memory: a convolution over the values is added to what is attended to."""

    def __init__(self, inputs: int, sizes: LinguisticSizes) -> None:
        super().__init__()
        width = sizes.width
        self.heads = sizes.heads
        self.linear_q_k_v = Linear(inputs, 3 * width)
        self.linear_out = Linear(width, width)
        self.fsmn_block = Conv1d(
            width, width, sizes.kernel, padding=sizes.kernel // 2, groups=width, bias=False
        )

    def forward(self, x: Tensor, kept: Tensor, seen: Tensor, past_end: Tensor) -> tuple[Tensor, Tensor]:
        width = self.linear_out.in_features
        q, kv = self.linear_q_k_v(x).split([width, 2 * width], dim=-1)
        first = torch.cat([kept, kv[:, :KEPT]])
        back = first.unfold(0, BACK, 1)[:-1].permute(0, 3, 1, 2).flatten(1, 2)
        keys, values = torch.cat([back, kv], dim=1).chunk(2, dim=-1)
        q, keys, values = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, keys, values))
        attended = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen)
        own = kv[..., width:].masked_fill(past_end, 0)
        memory = self.fsmn_block(own.transpose(1, 2)).transpose(1, 2) + own
        return self.linear_out(attended.transpose(1, 2).flatten(2)) + memory, first[-BACK:]


class _FeedForward(nn.Module):
    def __init__(self, sizes: LinguisticSizes) -> None:
        super().__init__()
        self.w_1 = Linear(sizes.width, sizes.hidden)
        self.w_2 = Linear(sizes.hidden, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w_2(F.relu(self.w_1(x)))
        return y


def positioned(rows: Tensor, first: int, width: int) -> Tensor:
    """Rows [n, inputs] of an utterance from row `first` on, scaled by sqrt(width), with their positions.

    Sines then cosines of the row's number, counted from 1.
    """
    half = rows.shape[1] // 2
    steps = torch.arange(half, device=rows.device, dtype=torch.float32)
    rates = torch.exp(steps * (-math.log(10_000) / (half - 1)))
    angles = torch.arange(first + 1, first + 1 + len(rows), device=rows.device)[:, None] * rates
    return rows * math.sqrt(width) + torch.cat([angles.sin(), angles.cos()], dim=1)


def windows_of(rows: Tensor) -> Tensor:
    """Windows of nine rows every four, [5 + n, inputs] -> [ceil(n / 4), 9, inputs].

    The first five rows are old; the last window is filled up with zeros.
    """
    rows = F.pad(rows, (0, 0, 0, -(len(rows) - OLD) % NEW))
    return rows.unfold(0, WINDOW, NEW).transpose(1, 2)
