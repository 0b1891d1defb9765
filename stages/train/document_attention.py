"""Attention of packed sequences on CPUs, computed for one document at a time.

Dimensions are named as in `stages.train.model`: B sequences of L positions, H query heads, G key and value
heads, K width of a head. Here N are the documents that are computed together, W is their width, and P are the
positions of all of them.
"""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

MULTIPLE = 64
"""Documents are filled up to a multiple of this many positions; equally wide ones are computed together."""
LONG = 1024
"""Documents of more positions are left to torch, which doesn't keep their scores for the gradient."""


def document_attention(documents_BL: Tensor, slopes_H: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """(q_BHLK, k_BGLK, v_BGLK) -> o_BHLK: exact attention within the documents, biased by their distances.

    A sequence of 1,024 positions with documents of 150 has a seventh of the scores of the whole sequence.
    """
    groups, places_P = _by_width(documents_BL)
    taken_P = torch.cat([at_NW.flatten() for at_NW in groups])
    sizes = [at_NW.numel() for at_NW in groups]
    bias_HWW = _causal_bias(max(at_NW.shape[1] for at_NW in groups), slopes_H)

    def attend_documents(at_NW: Tensor, *qkv: Tensor) -> Tensor:
        width = at_NW.shape[1]
        q_NHWK, k_NGWK, v_NGWK = (x.unflatten(0, at_NW.shape).transpose(1, 2) for x in qkv)
        bias = bias_HWW[:, :width, :width].to(q_NHWK.dtype)
        if width > LONG:
            o_NHWK = F.scaled_dot_product_attention(
                q_NHWK, k_NGWK, v_NGWK, attn_mask=bias[None], enable_gqa=True
            )
        else:
            o_NHWK = _attention(q_NHWK, k_NGWK, v_NGWK, bias)
        return o_NHWK.transpose(1, 2).flatten(0, 1)

    def attend(*qkv: Tensor) -> Tensor:
        # One gather for all groups: the gradient of each would fill a whole tensor.
        taken = (x.transpose(1, 2).flatten(0, 1).index_select(0, taken_P).split(sizes) for x in qkv)
        o_PHK = torch.cat([attend_documents(*group) for group in zip(groups, *taken, strict=True)])
        o_BLHK = o_PHK.index_select(0, places_P).unflatten(0, documents_BL.shape)
        return cast(Tensor, o_BLHK.transpose(1, 2))

    # Its shapes differ from batch to batch: layers are compiled around it.
    return cast(Callable[[Tensor, Tensor, Tensor], Tensor], torch.compiler.disable(attend))


def _attention(q_NHWK: Tensor, k_NGWK: Tensor, v_NGWK: Tensor, bias_HWW: Tensor) -> Tensor:
    """The same as `scaled_dot_product_attention`, whose gradient takes five times as long on CPUs. R query
    heads share a key head."""
    groups, repeated = k_NGWK.shape[1], (q_NHWK.shape[1] // k_NGWK.shape[1], q_NHWK.shape[2])
    q_NGXK = (q_NHWK * q_NHWK.shape[-1] ** -0.5).unflatten(1, (groups, -1)).flatten(2, 3)
    scores_NGRWW = (q_NGXK @ k_NGWK.mT).unflatten(2, repeated) + bias_HWW.unflatten(0, (groups, -1))
    o_NGXK = scores_NGRWW.softmax(-1).flatten(2, 3) @ v_NGWK
    o_NGRWK = o_NGXK.unflatten(2, repeated)
    return cast(Tensor, o_NGRWK.flatten(1, 2))


def _by_width(documents_BL: Tensor) -> tuple[list[Tensor], Tensor]:
    """Positions of the documents of each width, at_NW as indices into the flattened sequences, and where each
    position lies among all of them.

    A document is filled up with the positions behind it. The causal mask hides these from its own.
    """
    begins_BL = torch.ones_like(documents_BL, dtype=torch.bool)
    begins_BL[:, 1:] = documents_BL[:, 1:] != documents_BL[:, :-1]
    first_N = begins_BL.flatten().nonzero().flatten()
    length_N = first_N.diff(append=first_N.new_tensor([documents_BL.numel()]))
    width_N = (length_N + MULTIPLE - 1) // MULTIPLE * MULTIPLE
    last = documents_BL.numel() - 1
    groups, places_P, start = [], torch.empty_like(documents_BL.flatten()), 0
    for width in width_N.unique().tolist():
        of = (width_N == width).nonzero().flatten()
        at_W = torch.arange(width)
        at_NW = (first_N[of, None] + at_W).clamp(max=last)
        own_NW = at_W < length_N[of, None]
        places_P[at_NW[own_NW]] = start + own_NW.flatten().nonzero().flatten()
        groups.append(at_NW)
        start += at_NW.numel()
    return groups, places_P


def _causal_bias(width: int, slopes_H: Tensor) -> Tensor:
    """bias_HWW: minus slope times the root of the distance; minus infinity for positions behind."""
    at_W = torch.arange(width)
    distance_WW = at_W[:, None] - at_W[None, :]
    bias_HWW = -slopes_H[:, None, None] * distance_WW.clamp(min=0).to(slopes_H.dtype).sqrt()
    return bias_HWW.masked_fill(distance_WW < 0, -math.inf)
