"""Packed sequences as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stages.train.documents import Document

NO_TARGET = -100
PADDING = -1
"""Number of the document that fills a sequence up."""


@dataclass(frozen=True)
class Batch:
    """B sequences of L positions."""

    tokens_BL: Tensor
    documents_BL: Tensor
    """Which of `documents` a position belongs to, counted through the whole batch; -1 is padding."""
    targets_BL: Tensor
    """The token that follows in the same document where that bears loss, else -100."""
    documents: tuple[Document, ...]

    @property
    def is_target_BL(self) -> Tensor:
        return self.targets_BL != NO_TARGET

    @property
    def targets_N(self) -> Tensor:
        """Ids of the targets, in the order of positions."""
        return self.targets_BL[self.is_target_BL]

    @property
    def document_N(self) -> Tensor:
        """The document of each target. Sides of pairs stand in turns: 2 p is pair p's chosen one."""
        return self.documents_BL[self.is_target_BL]

    @property
    def pair_keys(self) -> list[str]:
        return [document.key for document in self.documents[::2]]

    def to(self, device: torch.device | str) -> "Batch":
        return replace(
            self,
            tokens_BL=self.tokens_BL.to(device),
            documents_BL=self.documents_BL.to(device),
            targets_BL=self.targets_BL.to(device),
        )


def batch_of(sequences: Sequence[Sequence[Document]], length: int, pad: int) -> Batch:
    """Documents one after another, filled up with `pad` to `length`."""
    tokens_BL = torch.full((len(sequences), length), pad, dtype=torch.long)
    documents_BL = torch.full((len(sequences), length), PADDING, dtype=torch.long)
    targets_BL = torch.full((len(sequences), length), NO_TARGET, dtype=torch.long)
    numbered: list[Document] = []
    for b, documents in enumerate(sequences):
        start = 0
        for document in documents:
            end = start + len(document.tokens)
            tokens = torch.from_numpy(document.tokens.astype("int64"))
            bears_loss = torch.from_numpy(document.loss == 1)
            tokens_BL[b, start:end] = tokens
            documents_BL[b, start:end] = len(numbered)
            targets_BL[b, start : end - 1] = tokens[1:].where(bears_loss[1:], NO_TARGET)
            numbered.append(document)
            start = end
    return Batch(tokens_BL, documents_BL, targets_BL, tuple(numbered))


def modality_of(ids: Tensor, vocabulary: Mapping[str, Any]) -> Tensor:
    """The `Modality` of ids, from what a version's manifest says of its vocabulary."""
    linguistic, semantic = int(vocabulary["linguistic"]["first"]), int(vocabulary["semantic"]["first"])
    is_code = (ids >= linguistic) & (ids < semantic + int(vocabulary["semantic"]["codes"]))
    return is_code.long() * (1 + (ids >= semantic).long())
