"""The encoder of audio tokens: pre-norm blocks with relative positions (Transformer-XL, section 3.3).

The public one is a conformer without its convolutions. Names of tensors end in their dimensions: B
utterances, T tokens asked about, S tokens seen, D width, H heads, K width of a head, M mels. Modules carry
the names of CosyVoice's state dict.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.vocoder.past import Past, seen_blocks
from stages.train.vocoder.shape import BLOCK, FlowShape


class RelativeAttention(nn.Module):
    """Scores of content and distance, each with a bias of its own."""

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.linear_q = nn.Linear(shape.width, shape.width)
        self.linear_k = nn.Linear(shape.width, shape.width)
        self.linear_v = nn.Linear(shape.width, shape.width)
        self.linear_out = nn.Linear(shape.width, shape.width)
        self.linear_pos = nn.Linear(shape.width, shape.width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(shape.heads, shape.width // shape.heads))
        self.pos_bias_v = nn.Parameter(torch.zeros(shape.heads, shape.width // shape.heads))

    def forward(
        self, x_BSD: Tensor, seen_BTS: Tensor | None, ahead: int = 0, past: Past | None = None
    ) -> Tensor:
        """x_BTD of all steps but the last `ahead`, which are only looked at."""
        own = x_BSD.shape[1] - ahead
        q_BTHK = self._heads(self.linear_q(x_BSD[:, :own])).transpose(1, 2)
        k_BHSK, v_BHSK = self._heads(self.linear_k(x_BSD)), self._heads(self.linear_v(x_BSD))
        if past is not None:
            k_BHSK, v_BHSK = (
                torch.cat([past.blocks((self, name), y_BHSK[:, :, :own]), y_BHSK[:, :, own:]], 2)
                for name, y_BHSK in (("k", k_BHSK), ("v", v_BHSK))
            )
        seen = k_BHSK.shape[2]
        content_BHTS = (q_BTHK + self.pos_bias_u).transpose(1, 2) @ k_BHSK.transpose(2, 3)
        # The last step asked about stands `ahead` before the last one seen.
        distances_N = torch.arange(seen - 1 - ahead, -own - ahead, -1, device=x_BSD.device)
        p_NHK = self.linear_pos(distance_encoding(distances_N, x_BSD.shape[2])).unflatten(
            -1, (self.heads, -1)
        )
        distance_BHTN = (q_BTHK + self.pos_bias_v).transpose(1, 2) @ p_NHK.permute(1, 2, 0)
        at_TS = torch.arange(own - 1, -1, -1, device=x_BSD.device)[:, None] + torch.arange(
            seen, device=x_BSD.device
        )
        at_BHTS = at_TS.expand(*content_BHTS.shape)
        score_BHTS = (content_BHTS + distance_BHTN.gather(3, at_BHTS)) / math.sqrt(q_BTHK.shape[-1])
        if seen_BTS is not None:
            score_BHTS = score_BHTS.masked_fill(~seen_BTS[:, None], -math.inf)
        o_BTHK = (score_BHTS.softmax(-1) @ v_BHSK).transpose(1, 2)
        return cast(Tensor, self.linear_out(o_BTHK.flatten(2)))

    def _heads(self, x_BTD: Tensor) -> Tensor:
        return cast(Tensor, x_BTD.unflatten(-1, (self.heads, -1)).transpose(1, 2))


def distance_encoding(distances_N: Tensor, width: int) -> Tensor:
    """p_ND: sines in even and cosines in odd places, as of positions (Attention Is All You Need, 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2, device=distances_N.device) * (-math.log(10_000.0) / width))
    angles = distances_N[:, None].float() * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class ConformerFeedForward(nn.Module):
    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.w_1 = nn.Linear(shape.width, shape.ffn)
        self.w_2 = nn.Linear(shape.ffn, shape.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return cast(Tensor, self.w_2(F.silu(self.w_1(x_BTD))))


class ConformerLayer(nn.Module):
    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(shape)
        self.feed_forward = ConformerFeedForward(shape)
        self.norm_mha = nn.LayerNorm(shape.width)
        self.norm_ff = nn.LayerNorm(shape.width)

    def forward(
        self, x_BSD: Tensor, seen_BTS: Tensor | None, ahead: int = 0, past: Past | None = None
    ) -> Tensor:
        own_BTD = x_BSD[:, : x_BSD.shape[1] - ahead]
        x_BTD = own_BTD + self.self_attn(self.norm_mha(x_BSD), seen_BTS, ahead, past)
        return cast(Tensor, x_BTD + self.feed_forward(self.norm_ff(x_BTD)))


class Embed(nn.Module):
    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(shape.width, shape.width), nn.LayerNorm(shape.width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return cast(Tensor, self.out(x_BTD) * math.sqrt(x_BTD.shape[-1]))


class Encoder(nn.Module):
    """`ConformerEncoder` of CosyVoice: what each token stands for among the others."""

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = Embed(shape)
        self.encoders = nn.ModuleList(ConformerLayer(shape) for _ in range(shape.layers))
        self.after_norm = nn.LayerNorm(shape.width)

    def forward(
        self, x_BSD: Tensor, lengths_B: Tensor | None = None, ahead: int = 0, past: Past | None = None
    ) -> Tensor:
        """x_BTD of embedded tokens: of whole utterances, those past their `lengths_B` unseen by others; or,
        with a past, of one block of tokens followed by `ahead` more that it may look at."""
        first = others = None
        if past is None:
            first, others = self._seen(x_BSD, lengths_B)
        x_BTD = self.embed(x_BSD)
        for n, layer in enumerate(self.encoders):
            x_BTD = layer(x_BTD, others if n else first, 0 if n else ahead, past)
        return cast(Tensor, self.after_norm(x_BTD))

    def _seen(self, x_BSD: Tensor, lengths_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """seen_BTT in the first layer, and in the others."""
        at_T = torch.arange(x_BSD.shape[1], device=x_BSD.device)
        there_BT = torch.ones(x_BSD.shape[:2], dtype=torch.bool, device=x_BSD.device)
        if lengths_B is not None:
            # Each utterance's first token stays seen: a softmax over nothing is no number.
            there_BT = at_T < lengths_B[:, None].clamp(min=1)
        if self.shape.past is None:
            seen_BTT = there_BT[:, None].expand(-1, len(at_T), -1)
            return seen_BTT, seen_BTT
        blocks_TT = seen_blocks(at_T // BLOCK, self.shape.past)
        next_T = (at_T // BLOCK + 1) * BLOCK
        ahead_TT = (at_T >= next_T[:, None]) & (at_T < next_T[:, None] + self.shape.ahead)
        # A step past the end sees itself, so that its softmax is a number.
        itself_TT = torch.eye(len(at_T), dtype=torch.bool, device=x_BSD.device)
        return tuple(
            (seen_TT & there_BT[:, None]) | itself_TT for seen_TT in (blocks_TT | ahead_TT, blocks_TT)
        )  # type: ignore[return-value]
