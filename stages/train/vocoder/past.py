"""What causal layers keep of earlier blocks, so that a block alone gives what it gives in the whole."""

from collections import defaultdict, deque
from collections.abc import Hashable

import torch
from torch import Tensor
from torch.nn import functional as F


class Past:
    """One pass through a network, block by block; a network that is run several times has one for each."""

    def __init__(self, blocks: int) -> None:
        self._last: dict[Hashable, Tensor] = {}
        self._blocks: dict[Hashable, deque[Tensor]] = defaultdict(lambda: deque(maxlen=blocks))

    def last(self, name: Hashable, x_BCT: Tensor, n: int) -> Tensor:
        """The n steps before these, zeros at the start, and these."""
        if name not in self._last:
            self._last[name] = x_BCT.new_zeros(*x_BCT.shape[:-1], n)
        extended = torch.cat([self._last[name], x_BCT], -1)
        self._last[name] = extended[..., extended.shape[-1] - n :]
        return extended

    def blocks(self, name: Hashable, x_BHTK: Tensor) -> Tensor:
        """The blocks that are still seen, and this one."""
        seen = torch.cat([*self._blocks[name], x_BHTK], -2)
        self._blocks[name].append(x_BHTK)
        return seen


def extended(past: Past | None, name: Hashable, x_BCT: Tensor, n: int) -> Tensor:
    """Steps with the n before them: kept ones when streaming, zeros in a whole."""
    return F.pad(x_BCT, (n, 0)) if past is None else past.last(name, x_BCT, n)


def seen_blocks(block_T: Tensor, past: int) -> Tensor:
    """seen_TT: whether step i sees step j, in its own block or one of the `past` before."""
    behind_TT = block_T[:, None] - block_T[None, :]
    return (behind_TT >= 0) & (behind_TT <= past)
