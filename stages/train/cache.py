"""Incremental decoding: a model reads a sequence id by id and caches its keys and values."""

from collections.abc import Sequence
from typing import Protocol, Self, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.train.model import Attend, Step1

CHUNK_IDS = 512
"""Ids that are read at once: their scores against all earlier positions are in memory."""
MIN_GROWTH = 256
"""Positions that the cache grows by at least."""


class Reader(Protocol):
    """A model's state within one sequence."""

    def read(self, ids: Sequence[int]) -> Tensor:
        """logits_V of the id after these ids (at least one) and all that were read before."""

    def copy(self) -> Self:
        """A copy with the same state, to continue the sequence in another way."""


class Step1Reader:
    """Has the same logits as the model's forward pass over the whole sequence."""

    def __init__(self, model: Step1) -> None:
        self._model = model
        self._length = 0
        device, dtype = model.lm_head.weight.device, model.lm_head.weight.dtype
        self._slopes_H = model.model.slopes_H.to(device)
        shape = model.shape
        self._kv_N2GTK = torch.empty(shape.layers, 2, shape.groups, 0, shape.head, device=device, dtype=dtype)
        """Keys and values of N layers, with capacity for T positions."""

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Tensor:
        tokens_L = torch.tensor(ids, device=self._kv_N2GTK.device)
        for chunk_L in tokens_L.split(CHUNK_IDS):
            x_1LD = self._through(chunk_L[None])
        return cast(Tensor, self._model.lm_head(x_1LD[0, -1]))

    @property
    def kv_N2GTK(self) -> Tensor:
        """Keys and values of all T ids that were read."""
        return self._kv_N2GTK[:, :, :, : self._length]

    def copy(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__ = self.__dict__ | {"_kv_N2GTK": self._kv_N2GTK.clone()}
        return other

    def _through(self, tokens_1L: Tensor) -> Tensor:
        """The head's inputs x_1LD at ids that follow those in the cache."""
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
        """Bias of the positions from `first` on: -slope * sqrt(i - j), and -inf for later positions."""
        at_T = torch.arange(self._length, device=self._slopes_H.device)
        distance_LT = at_T[first:, None] - at_T[None, :]
        bias_HLT = -self._slopes_H[:, None, None] * distance_LT.clamp(min=0).float().sqrt()
        return bias_HLT.masked_fill(distance_LT < 0, -torch.inf)

    def _grow(self) -> None:
        old_N2GTK = self._kv_N2GTK
        n, two, g, capacity, k = old_N2GTK.shape
        size = max(2 * capacity, self._length + MIN_GROWTH)
        self._kv_N2GTK = old_N2GTK.new_empty(n, two, g, size, k)
        self._kv_N2GTK[:, :, :, :capacity] = old_N2GTK
