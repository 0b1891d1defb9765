"""A decoder that reads an answer id by id, and keeps keys and values of what it has read."""

from collections.abc import Sequence
from typing import Protocol, Self, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.train.model import Attend, Step1

PIECE = 512
"""Ids that are read at once: their scores against everything before stand in memory."""
ROOM = 256
"""Positions that the cache grows by at the least."""


class Reader(Protocol):
    """A model within one sequence."""

    def read(self, ids: Sequence[int]) -> Tensor:
        """logits_V of what follows these ids, one at least, and all that were read before."""

    def copy(self) -> Self:
        """Another that has read the same, to go on in another way."""


class Step1Reader:
    """Gives the logits that the model's forward pass gives of the whole sequence."""

    def __init__(self, model: Step1) -> None:
        self._model = model
        self._length = 0
        device, dtype = model.lm_head.weight.device, model.lm_head.weight.dtype
        self._slopes_H = model.model.slopes_H.to(device)
        shape = model.shape
        self._kv_N2GTK = torch.empty(shape.layers, 2, shape.groups, 0, shape.head, device=device, dtype=dtype)
        """Of N layers, with room for T positions."""

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Tensor:
        tokens_L = torch.tensor(ids, device=self._kv_N2GTK.device)
        for piece_L in tokens_L.split(PIECE):
            x_1LD = self._through(piece_L[None])
        return cast(Tensor, self._model.lm_head(x_1LD[0, -1]))

    def copy(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__ = self.__dict__ | {"_kv_N2GTK": self._kv_N2GTK.clone()}
        return other

    def _through(self, tokens_1L: Tensor) -> Tensor:
        """What the head reads at ids that follow those in the cache: x_1LD."""
        decoder = self._model.model
        first, self._length = self._length, self._length + tokens_1L.shape[1]
        if self._length > self._kv_N2GTK.shape[3]:
            self._grow()
        bias_HLT = self._bias(first).to(self._kv_N2GTK.dtype)
        x_1LD = decoder.embed_tokens(tokens_1L)
        for n, layer in enumerate(decoder.layers):
            x_1LD = layer(x_1LD, self._attend(n, first, bias_HLT))
        return cast(Tensor, decoder.norm(x_1LD))

    def _attend(self, layer: int, first: int, bias_HLT: Tensor) -> Attend:
        kv_2GTK = self._kv_N2GTK[layer, :, :, : self._length]

        def attend(q_1HLK: Tensor, k_1GLK: Tensor, v_1GLK: Tensor) -> Tensor:
            kv_2GTK[0, :, first:], kv_2GTK[1, :, first:] = k_1GLK[0], v_1GLK[0]
            k_GTK, v_GTK = kv_2GTK
            return F.scaled_dot_product_attention(
                q_1HLK, k_GTK[None], v_GTK[None], attn_mask=bias_HLT[None], enable_gqa=True
            )

        return attend

    def _bias(self, first: int) -> Tensor:
        """Of the positions from `first` on against all: -slope * sqrt(i - j), and no way to those after."""
        at_T = torch.arange(self._length, device=self._slopes_H.device)
        distance_LT = at_T[first:, None] - at_T[None, :]
        bias_HLT = -self._slopes_H[:, None, None] * distance_LT.clamp(min=0).float().sqrt()
        return bias_HLT.masked_fill(distance_LT < 0, -torch.inf)

    def _grow(self) -> None:
        held_N2GTK = self._kv_N2GTK
        n, two, g, room, k = held_N2GTK.shape
        size = max(2 * room, self._length + ROOM)
        self._kv_N2GTK = held_N2GTK.new_empty(n, two, g, size, k)
        self._kv_N2GTK[:, :, :, :room] = held_N2GTK
