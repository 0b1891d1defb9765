"""The linguistic encoder: the streaming Paraformer encoder, over all chunks of a batch of utterances at once.

A chunk has a window of nine rows: five old ones and its four new ones. In each layer it attends to these, and
to the keys and values of the first four rows of each of the four chunks before it. Chunks in a layer
therefore depend only on the layer below, and a single pass processes any number of them: N chunks, those of
one utterance after those of another. D is the width of the encoder.
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
"""Number of previous chunks that a chunk attends to."""
KEPT = 4
"""Number of rows of each of those."""


@dataclass(frozen=True)
class LinguisticSizes:
    """Sizes of the linguistic encoder."""

    inputs: int
    width: int
    heads: int
    hidden: int
    """Width of the feed-forward layers."""
    blocks: int
    kernel: int
    """Kernel size of the convolution over values, in rows."""


class LinguisticEncoder(nn.Module):
    """The encoder. Its parameters are named as the checkpoint's `encoder.*`."""

    def __init__(self, sizes: LinguisticSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoders0 = nn.ModuleList([_Layer(sizes.inputs, sizes)])
        self.encoders = nn.ModuleList([_Layer(sizes.width, sizes) for _ in range(sizes.blocks - 1)])
        self.after_norm = nn.LayerNorm(sizes.width, eps=1e-12)

    def initial_past(self) -> Tensor:
        """`past` of the first chunk of an utterance, [layers, 4, 4, 2D]."""
        first: _Layer = self.encoders0[0]  # type: ignore[assignment]
        return first.self_attn.linear_q_k_v.weight.new_zeros(
            self.sizes.blocks, BACK, KEPT, 2 * self.sizes.width
        )

    def forward(
        self, windows: Tensor, chunk: Tensor, past_end: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Encoded new rows, [N, 4, D], and the `past` of the next chunk.

        windows: [N, 9, inputs], scaled, with positions, and with zeros before the first row of an utterance.
        chunk: [N], index of each chunk in its utterance.
        past_end: bool [N, 9], rows after the last one of the utterance.
        past: keys and values of the four chunks before these in each layer, [layers, 4, 4, 2D].
        """
        exists = chunk[:, None] >= torch.arange(BACK, 0, -1, device=chunk.device)
        mask = torch.cat([exists.repeat_interleave(KEPT, dim=1), ~past_end], dim=1)
        x, next_past = windows, []
        for layer, layer_past in zip([*self.encoders0, *self.encoders], past, strict=True):
            x, layer_past = layer(x, layer_past, mask[:, None, None], past_end[:, :, None])
            next_past.append(layer_past)
        return self.after_norm(x[:, OLD:]), torch.stack(next_past)


class _Layer(nn.Module):
    def __init__(self, inputs: int, sizes: LinguisticSizes) -> None:
        super().__init__()
        self.self_attn = _MemoryAttention(inputs, sizes)
        self.feed_forward = _FeedForward(sizes)
        self.norm1 = nn.LayerNorm(inputs, eps=1e-12)
        self.norm2 = nn.LayerNorm(sizes.width, eps=1e-12)
        self.residual = inputs == sizes.width

    def forward(self, x: Tensor, past: Tensor, mask: Tensor, past_end: Tensor) -> tuple[Tensor, Tensor]:
        attended, past = self.self_attn(self.norm1(x), past, mask, past_end)
        x = x + attended if self.residual else attended.float()
        return x + self.feed_forward(self.norm2(x)), past


class _MemoryAttention(nn.Module):
    """Self-attention with a memory block (SAN-M): a convolution over the values is added to the output."""

    def __init__(self, inputs: int, sizes: LinguisticSizes) -> None:
        super().__init__()
        width = sizes.width
        self.heads = sizes.heads
        self.linear_q_k_v = Linear(inputs, 3 * width)
        self.linear_out = Linear(width, width)
        self.fsmn_block = Conv1d(
            width, width, sizes.kernel, padding=sizes.kernel // 2, groups=width, bias=False
        )

    def forward(self, x: Tensor, past: Tensor, mask: Tensor, past_end: Tensor) -> tuple[Tensor, Tensor]:
        width = self.linear_out.in_features
        q, kv = self.linear_q_k_v(x).split([width, 2 * width], dim=-1)
        first = torch.cat([past, kv[:, :KEPT]])
        back = first.unfold(0, BACK, 1)[:-1].permute(0, 3, 1, 2).flatten(1, 2)
        keys, values = torch.cat([back, kv], dim=1).chunk(2, dim=-1)
        q, keys, values = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, keys, values))
        attended = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
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
    """Rows [n, inputs] of an utterance from row `first` on, scaled by sqrt(width), plus position encodings.

    These are sines, then cosines, of the number of the row, counted from 1.
    """
    half = rows.shape[1] // 2
    steps = torch.arange(half, device=rows.device, dtype=torch.float32)
    rates = torch.exp(steps * (-math.log(10_000) / (half - 1)))
    angles = torch.arange(first + 1, first + 1 + len(rows), device=rows.device)[:, None] * rates
    return rows * math.sqrt(width) + torch.cat([angles.sin(), angles.cos()], dim=1)


def windows_of(rows: Tensor) -> Tensor:
    """Windows of nine rows, four rows apart, [5 + n, inputs] -> [ceil(n / 4), 9, inputs].

    The first five rows are old ones. The last window is padded with zeros.
    """
    rows = F.pad(rows, (0, 0, 0, -(len(rows) - OLD) % NEW))
    return rows.unfold(0, WINDOW, NEW).transpose(1, 2)
