"""The semantic encoder: CosyVoice's speech tokenizer at 25 Hz, a Whisper encoder with a codebook."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.tokenize.step_audio.layers import Conv1d, Linear

HEAD = 64
"""Width of a head in Whisper models of every size."""


@dataclass(frozen=True)
class SemanticSizes:
    """Sizes of the semantic encoder."""

    mels: int
    width: int
    blocks: int
    positions: int
    """Number of position embeddings, and so the maximum number of rows."""


class SemanticEncoder(nn.Module):
    """Encodes log-mel spectra to unit vectors, 25 per second."""

    def __init__(self, sizes: SemanticSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.conv1 = Conv1d(sizes.mels, sizes.width, 3, stride=2, padding=1)
        self.conv2 = Conv1d(sizes.width, sizes.width, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.empty(sizes.positions, sizes.width))
        self.blocks = nn.ModuleList([_Block(sizes.width) for _ in range(sizes.blocks)])

    def forward(self, mel: Tensor, counts: Tensor | None = None) -> Tensor:
        """Unit vectors of spectra, [B, T, mels] -> [B, ceil(T / 4), width].

        counts: [B], number of frames of each spectrum, if not all of them have T. The rest is masked.
        """
        x = F.gelu(self.conv1(mel.transpose(1, 2)))
        mask = None
        if counts is not None:
            counts = (counts + 1) // 2
            x = x * _within(counts, x.shape[2])[:, None]
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        if counts is not None:
            mask = _within((counts + 1) // 2, x.shape[1])[:, None, None]
        x = x + self.positions[: x.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        return F.normalize(x, dim=-1)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = _SelfAttention(width)
        self.attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(Linear(width, 4 * width), nn.GELU(), Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.attn_ln(x), mask)
        y: Tensor = x + self.mlp(self.mlp_ln(x))
        return y


class _SelfAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = Linear(width, width)
        self.key = Linear(width, width, bias=False)
        self.value = Linear(width, width)
        self.out = Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        projections = (self.query, self.key, self.value)
        q, k, v = (project(x).unflatten(-1, (-1, HEAD)).transpose(1, 2) for project in projections)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return y


def _within(counts: Tensor, length: int) -> Tensor:
    """Bool [B, length]: which rows are not padding."""
    return torch.arange(length, device=counts.device) < counts[:, None]
