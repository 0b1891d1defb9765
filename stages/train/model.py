"""The Step-1 decoder: RMSNorm before each block, SwiGLU, grouped-query attention, sqrt-ALiBi, no biases.

Names of tensors end in their dimensions: B sequences, L positions, V vocabulary, D hidden, H query heads,
G key and value heads, K width of a head. A sequence consists of several documents, which don't
attend to each other. Modules have the names of the public checkpoint, so that its state dict loads unchanged.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from stages.train.added_rows import weight_of
from stages.train.document_attention import document_attention
from stages.train.loss import token_losses
from stages.train.shape import NORM_EPS, Shape, generation_config, public_config
from stages.train.sharded import own, region

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q_BHLK, k_BGLK, v_BGLK) -> o_BHLK, masked and biased for the documents of one batch."""

INITIAL_STD = 0.02
BLOCK = 128
"""Positions per block that FlexAttention computes or skips."""
CONFIG = "config.json"


def alibi_slopes(heads: int) -> Tensor:
    """slopes_H: 2^(-8k/n) for the first n heads, the largest power of two; 2^(-4(2k-1)/n) for the rest."""
    n = 2 ** int(math.log2(heads))
    powers = [-8 * k / n for k in range(1, n + 1)] + [-4 * (2 * k - 1) / n for k in range(1, heads - n + 1)]
    return torch.tensor([2.0**power for power in powers], dtype=torch.float32, device="cpu")


def dense_attention(documents_BL: Tensor, slopes_H: Tensor) -> Attend:
    """Exact attention with the complete bias in memory, B H L L elements: for comparison."""
    at_L = torch.arange(documents_BL.shape[1], device=documents_BL.device)
    distance_LL = (at_L[:, None] - at_L[None, :]).clamp(min=0).float()
    seen_BLL = (documents_BL[:, :, None] == documents_BL[:, None, :]) & (at_L[:, None] >= at_L[None, :])
    bias_HLL = -slopes_H.to(documents_BL.device)[:, None, None] * distance_LL.sqrt()
    bias_BHLL = bias_HLL.masked_fill(~seen_BLL[:, None], -math.inf)

    def attend(q_BHLK: Tensor, k_BGLK: Tensor, v_BGLK: Tensor) -> Tensor:
        bias = bias_BHLL.to(q_BHLK.dtype)
        return F.scaled_dot_product_attention(q_BHLK, k_BGLK, v_BGLK, attn_mask=bias, enable_gqa=True)

    return attend


def flex_attention_for(documents_BL: Tensor, slopes_H: Tensor, compiled: bool = True) -> Attend:
    """The same, skipping blocks without attention; for GPUs. Uncompiled, it holds all scores in memory."""
    slopes_H = slopes_H.to(documents_BL.device)

    def seen(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (i >= j) & (documents_BL[b, i] == documents_BL[b, j])

    def bias(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        # Scores above the diagonal are computed before they are masked, and the root of a negative number is
        # NaN.
        return score - slopes_H[h] * (i - j).clamp(min=0).to(score.dtype).sqrt()

    blocks = document_blocks(documents_BL, seen)
    kernel = cast(Callable[..., Tensor], _compiled_flex() if compiled else flex_attention)

    def attend(q_BHLK: Tensor, k_BGLK: Tensor, v_BGLK: Tensor) -> Tensor:
        return kernel(q_BHLK, k_BGLK, v_BGLK, score_mod=bias, block_mask=blocks, enable_gqa=True)

    return attend


def document_blocks(documents_BL: Tensor, seen: Callable[..., Tensor]) -> BlockMask:
    """Which blocks of positions attend to each other, and which of them need no mask inside.

    The result of `create_block_mask`, which evaluates `seen` for every pair of positions. Documents are
    contiguous, so that the ends of the N blocks are enough.
    """
    length = documents_BL.shape[1]
    ordinal_BL = (documents_BL[:, 1:] != documents_BL[:, :-1]).cumsum(1)
    ordinal_BL = F.pad(ordinal_BL, (1, 0))
    ordinal_BL = F.pad(ordinal_BL, (0, -length % BLOCK), value=length)
    first_BN, last_BN = ordinal_BL[:, ::BLOCK], ordinal_BL[:, BLOCK - 1 :: BLOCK]
    itself_NN = torch.eye(first_BN.shape[1], dtype=torch.bool, device=documents_BL.device)
    before_NN = torch.ones_like(itself_NN).tril(-1)
    whole_BNN = before_NN & (first_BN[:, None, :] == last_BN[:, :, None])
    some_BNN = before_NN & (last_BN[:, None, :] == first_BN[:, :, None]) & ~whole_BNN | itself_NN

    def listed(blocks_BNN: Tensor) -> tuple[Tensor, Tensor]:
        """Number of blocks that each block attends to, and their indices, followed by the other indices."""
        numbers_BNN = blocks_BNN.int().argsort(dim=-1, descending=True, stable=True)
        return blocks_BNN.sum(-1, dtype=torch.int32)[:, None], numbers_BNN.int()[:, None]

    blocks = BlockMask.from_kv_blocks(
        *listed(some_BNN), *listed(whole_BNN), BLOCK_SIZE=BLOCK, mask_mod=seen, seq_lengths=(length, length)
    )
    return cast(BlockMask, blocks)


def attention_for(documents_BL: Tensor, slopes_H: Tensor) -> Attend:
    """The attention of a batch, built once for all layers: by document on CPU, FlexAttention on CUDA."""
    make = flex_attention_for if documents_BL.is_cuda else document_attention
    return make(documents_BL, slopes_H)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head = shape.head
        self.q_proj = nn.Linear(shape.hidden, shape.heads * shape.head, bias=False)
        self.k_proj = nn.Linear(shape.hidden, shape.groups * shape.head, bias=False)
        self.v_proj = nn.Linear(shape.hidden, shape.groups * shape.head, bias=False)
        self.o_proj = nn.Linear(shape.heads * shape.head, shape.hidden, bias=False)

    def forward(self, x_BLD: Tensor, attend: Attend) -> Tensor:
        # The number of heads follows from the projections, which tensor parallelism splits.
        q_BHLK, k_BGLK, v_BGLK = (
            project(x_BLD).unflatten(-1, (-1, self.head)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        o_BHLK = attend(q_BHLK, k_BGLK, v_BGLK)
        return cast(Tensor, self.o_proj(o_BHLK.transpose(1, 2).flatten(-2)))


class SwiGLU(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.ffn, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.ffn, bias=False)
        self.down_proj = nn.Linear(shape.ffn, shape.hidden, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return cast(Tensor, self.down_proj(F.silu(self.gate_proj(x_BLD)) * self.up_proj(x_BLD)))


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = SwiGLU(shape)
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps=NORM_EPS)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps=NORM_EPS)

    def forward(self, x_BLD: Tensor, attend: Attend) -> Tensor:
        x_BLD = x_BLD + self.self_attn(self.input_layernorm(x_BLD), attend)
        return cast(Tensor, x_BLD + self.mlp(self.post_attention_layernorm(x_BLD)))


class Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.slopes_H = alibi_slopes(shape.heads)
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=NORM_EPS)

    def forward(self, tokens_BL: Tensor, documents_BL: Tensor) -> Tensor:
        """The head's inputs, normalised: x_BLD."""
        attend = attention_for(documents_BL, self.slopes_H)
        x_BLD = self.embed_tokens(tokens_BL)
        for layer in self.layers:
            x_BLD = layer(x_BLD, attend)
        return cast(Tensor, self.norm(x_BLD))


class Backbone(nn.Module):
    """The interface that training needs. A model is built on the meta device and sharded over processes."""

    shape: Shape
    layers: nn.ModuleList
    """The transformer blocks: the unit of gathering weights and of activation checkpointing."""

    @property
    def ends(self) -> tuple[nn.Module, nn.Module]:
        """Embeddings and head."""
        raise NotImplementedError

    def losses(self, tokens_BL: Tensor, documents_BL: Tensor, at_N: Tensor, targets_N: Tensor) -> Tensor:
        """loss_N of targets: the negative log-probability of each at its position, an index into the
        flattened sequences. `documents_BL` is as in a batch: documents of a sequence don't attend to each
        other."""
        raise NotImplementedError

    def initialise(self, seed: int) -> None:
        """Random weights, the same for a seed on any number of processes."""
        raise NotImplementedError

    def files(self, dtype: torch.dtype, specials: Mapping[str, int]) -> dict[str, str]:
        """Contents of the files next to a checkpoint's weights: config.json and others that readers need.
        `specials` are the ids of markers, by name."""
        raise NotImplementedError


class Step1(Backbone):
    """`Step1ForCausalLM` of the public checkpoint. Built under `torch.device("meta")` it takes no memory."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Decoder(shape)
        self.lm_head = nn.Linear(shape.hidden, shape.vocabulary, bias=False)

    def forward(self, tokens_BL: Tensor, documents_BL: Tensor | None = None) -> Tensor:
        """logits_BLV of whole sequences. `documents_BL` has the document number of each position; documents
        are contiguous, and without it a sequence is one document. Training calls `losses` instead, because
        the logits of all positions rarely fit into memory."""
        if documents_BL is None:
            documents_BL = torch.zeros_like(tokens_BL)
        return cast(Tensor, self.lm_head(self.model(tokens_BL, documents_BL)))

    def losses(self, tokens_BL: Tensor, documents_BL: Tensor, at_N: Tensor, targets_N: Tensor) -> Tensor:
        x_BLD = self.model(tokens_BL, documents_BL)
        return token_losses(x_BLD.flatten(0, 1).index_select(0, at_N), weight_of(self.lm_head), targets_N)

    @property
    def layers(self) -> nn.ModuleList:  # type: ignore[override]
        return self.model.layers

    @property
    def ends(self) -> tuple[nn.Module, nn.Module]:
        return self.model.embed_tokens, self.lm_head

    def files(self, dtype: torch.dtype, specials: Mapping[str, int]) -> dict[str, str]:
        config = public_config(self.shape, str(dtype).removeprefix("torch."), specials)
        contents = {CONFIG: config, "generation_config.json": generation_config(specials)}
        files = {name: json.dumps(content, indent=2) + "\n" for name, content in contents.items()}
        return files | step1_code()

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Random weights, the same for a seed on every machine and any number of processes: normal with
        standard deviation 0.02, norms 1."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            if parameter.dim() == 1:
                own(parameter).fill_(1.0)
            else:
                drawn = torch.empty(parameter.shape).normal_(0, INITIAL_STD, generator=generator)
                own(parameter).copy_(drawn[region(parameter)])


def step1_code() -> dict[str, str]:
    """Name -> content of the files beside the weights with which transformers opens them: there they import
    each other as neighbours."""
    folder = Path(__file__).parent / "step1_code"
    files = (folder / name for name in ("configuration_step1.py", "modeling_step1.py"))
    own = "from stages.train.step1_code."
    return {file.name: file.read_text(encoding="utf-8").replace(own, "from .") for file in files}


@cache
def _compiled_flex() -> Callable[..., Tensor]:
    """FlexAttention is slow unless compiled; compiled once, it works for every batch."""
    return cast(Callable[..., Tensor], torch.compile(cast(Any, flex_attention), dynamic=False))
