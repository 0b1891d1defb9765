"""State that causal layers keep from earlier blocks, so that streaming equals processing the whole."""

from collections import defaultdict, deque
from collections.abc import Hashable

import torch
from torch import Tensor
from torch.nn import functional as F


class Past:
    """State of one pass through a network, block by block. A network that runs several times needs
    several."""

    def __init__(self, blocks: int) -> None:
        self._last: dict[Hashable, Tensor] = {}
        self._blocks: dict[Hashable, deque[Tensor]] = defaultdict(lambda: deque(maxlen=blocks))

    def last(self, name: Hashable, x_BCT: Tensor, n: int) -> Tensor:
        """The n previous steps (zeros at the start) followed by these."""
        if name not in self._last:
            self._last[name] = x_BCT.new_zeros(*x_BCT.shape[:-1], n)
        extended = torch.cat([self._last[name], x_BCT], -1)
        self._last[name] = extended[..., extended.shape[-1] - n :]
        return extended

    def sums(self, name: Hashable, x_BT: Tensor, restarts_BT: Tensor) -> Tensor:
        """As `sums` below, going on from the last block."""
        total_BT = sums(x_BT, restarts_BT, self._last.get(name, x_BT.new_zeros(len(x_BT), 1)))
        self._last[name] = total_BT[:, -1:] % 1
        return total_BT

    def blocks(self, name: Hashable, x_BHTK: Tensor) -> Tensor:
        """The earlier blocks that are still visible, followed by this one."""
        seen = torch.cat([*self._blocks[name], x_BHTK], -2)
        self._blocks[name].append(x_BHTK)
        return seen


def extended(past: Past | None, name: Hashable, x_BCT: Tensor, n: int) -> Tensor:
    """Steps after the n before them: those kept in `past` when streaming, otherwise zeros."""
    return F.pad(x_BCT, (n, 0)) if past is None else past.last(name, x_BCT, n)


def sums(x_BT: Tensor, restarts_BT: Tensor, before_B1: Tensor) -> Tensor:
    """Running sums x_BT of numbers that are not negative, from `before_B1` on, or from the last step that
    restarts, where they are 0."""
    all_BT = before_B1 + x_BT.cumsum(1)
    return all_BT - torch.where(restarts_BT, all_BT, 0).cummax(1).values


def seen_blocks(block_T: Tensor, past: int) -> Tensor:
    """seen_TT: whether step i sees step j, which is in the same block or one of the `past` blocks before."""
    distance_TT = block_T[:, None] - block_T[None, :]
    return (distance_TT >= 0) & (distance_TT <= past)
