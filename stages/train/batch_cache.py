"""Incremental decoding of many sequences at once, each id of one after all that were read of it."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.train.cache import MIN_GROWTH, Reader, Step1Reader
from stages.train.model import Attend, Step1


class OneByOneReader:
    """The interface of `BatchReader` for models with a cache of their own: each sequence is read alone."""

    def __init__(self) -> None:
        self._readers: list[Reader] = []

    def join(self, reader: Reader) -> None:
        self._readers.append(reader.copy())

    def leave(self, row: int) -> None:
        self._readers[row] = self._readers[-1]
        self._readers.pop()

    def read(self, ids: Sequence[int]) -> Tensor:
        """logits_BV of the ids after these, one for each row."""
        return torch.stack([reader.read([id]) for reader, id in zip(self._readers, ids, strict=True)])


class BatchReader:
    """Sequences that join and leave at any time, with the logits that `Step1Reader` has for each.

    They end in the same column of the cache and begin in columns of their own. That is enough, since the
    attention's bias depends on distances alone.
    """

    def __init__(self, model: Step1, rows: int) -> None:
        """`rows` is the most sequences at a time."""
        self._model = model
        weight, shape = model.lm_head.weight, model.shape
        self._slopes_GH = model.model.slopes_H.to(weight.device).unflatten(0, (shape.groups, -1))
        """Of the query heads of each group."""
        self._kv_N2BGTK = weight.new_zeros(shape.layers, 2, rows, shape.groups, 0, shape.head)
        self._starts_B = torch.zeros(rows, dtype=torch.long, device=weight.device)
        """The column in which each sequence begins."""
        self._rows = 0
        self._end = 0
        """The column after the last of all sequences."""

    def join(self, reader: Reader) -> None:
        """Add a sequence of which some ids were read, as the last row."""
        kv_N2GTK = cast(Step1Reader, reader).kv_N2GTK
        length = kv_N2GTK.shape[3]
        if not self._rows or length > self._end:
            self._make_room(length)
        self._kv_N2BGTK[:, :, self._rows, :, self._end - length : self._end] = kv_N2GTK
        self._starts_B[self._rows] = self._end - length
        self._rows += 1

    def leave(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        self._rows -= 1
        if row != self._rows:
            self._kv_N2BGTK[:, :, row] = self._kv_N2BGTK[:, :, self._rows]
            self._starts_B[row] = self._starts_B[self._rows]

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Tensor:
        """logits_BV of the ids after these, one for each row."""
        if self._end == self._kv_N2BGTK.shape[4]:
            self._make_room(0)
        self._end += 1
        decoder = self._model.model
        first = int(self._starts_B[: self._rows].min())
        bias_BGHT = self._bias(first).to(self._kv_N2BGTK.dtype)
        x_B1D = decoder.embed_tokens(torch.tensor(ids, device=self._starts_B.device)[:, None])
        for n, layer in enumerate(decoder.layers):
            x_B1D = layer(x_B1D, self._attend(n, first, bias_BGHT))
        return cast(Tensor, self._model.lm_head(decoder.norm(x_B1D[:, 0])))

    def _attend(self, layer: int, first: int, bias_BGHT: Tensor) -> Attend:
        kv_2BGTK = self._kv_N2BGTK[layer, :, : self._rows, :, first : self._end]

        def attend(q_BH1K: Tensor, k_BG1K: Tensor, v_BG1K: Tensor) -> Tensor:
            kv_2BGTK[0, :, :, -1:], kv_2BGTK[1, :, :, -1:] = k_BG1K, v_BG1K
            # The query heads of a group stand where there would be queries of several positions.
            q_BGHK = q_BH1K.squeeze(2).unflatten(1, (k_BG1K.shape[1], -1))
            k_BGTK, v_BGTK = kv_2BGTK
            o_BGHK = F.scaled_dot_product_attention(q_BGHK, k_BGTK, v_BGTK, attn_mask=bias_BGHT)
            return o_BGHK.flatten(1, 2)[:, :, None]

        return attend

    def _bias(self, first: int) -> Tensor:
        """Bias of the last column to those from `first` on: -slope * sqrt(distance), and -inf before a row's
        start."""
        at_T = torch.arange(first, self._end, device=self._starts_B.device)
        bias_GHT = -self._slopes_GH[..., None] * (self._end - 1 - at_T).float().sqrt()
        before_BT = at_T < self._starts_B[: self._rows, None]
        bias_BGHT = bias_GHT.expand(self._rows, -1, -1, -1)
        return cast(Tensor, bias_BGHT.masked_fill(before_BT[:, None, None], -torch.inf))

    def _make_room(self, length: int) -> None:
        """Give the cache columns for what follows and at least `length` before the end, and drop those before
        the first sequence."""
        old_N2BGTK, rows = self._kv_N2BGTK, self._rows
        first = int(self._starts_B[:rows].min()) if rows else self._end
        used = self._end - first
        end = max(used, length)
        n, two, b, g, _, k = old_N2BGTK.shape
        # Zeros, because a weight of zero would not hide a NaN.
        self._kv_N2BGTK = old_N2BGTK.new_zeros(n, two, b, g, max(2 * used, end + MIN_GROWTH), k)
        self._kv_N2BGTK[:, :, :rows, :, end - used : end] = old_N2BGTK[:, :, :rows, :, first : self._end]
        self._starts_B += end - self._end
        self._end = end
