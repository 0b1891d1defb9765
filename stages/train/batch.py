"""Packed sequences as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.train.documents import Document

PADDING = -1
"""Document number of the positions that fill up a sequence."""


@dataclass(frozen=True)
class Batch:
    """B sequences of L positions, of which N are followed by a target: a token of the same document that
    contributes to the loss."""

    tokens_BL: Tensor
    documents_BL: Tensor
    """Index into `documents` of each position, over the whole batch; -1 is padding."""
    at_N: Tensor
    """Positions before the targets, as indices into the flattened batch."""
    targets_N: Tensor
    """The tokens to predict there."""
    document_N: Tensor
    """The document of each target. Sides of pairs alternate: 2 p is the chosen side of pair p."""
    documents: tuple[Document, ...]

    @property
    def pair_keys(self) -> list[str]:
        return [document.key for document in self.documents[::2]]

    def to(self, device: torch.device | str) -> "Batch":
        moved = {
            field.name: getattr(self, field.name).to(device, non_blocking=True)
            for field in fields(self)
            if field.name != "documents"
        }
        return replace(self, **moved)


def batch_of(sequences: Sequence[Sequence[Document]], length: int, pad: int) -> Batch:
    """Concatenate documents and pad each sequence with `pad` to `length`."""
    tokens_BL = np.full((len(sequences), length), pad, np.int64)
    documents_BL = np.full((len(sequences), length), PADDING, np.int64)
    is_target_BL = np.zeros((len(sequences), length), bool)
    numbered: list[Document] = []
    for b, documents in enumerate(sequences):
        start = 0
        for document in documents:
            end = start + len(document.tokens)
            tokens_BL[b, start:end] = document.tokens
            documents_BL[b, start:end] = len(numbered)
            is_target_BL[b, start + 1 : end] = document.loss[1:]
            numbered.append(document)
            start = end
    targets = np.flatnonzero(is_target_BL)
    return Batch(
        torch.from_numpy(tokens_BL),
        torch.from_numpy(documents_BL),
        torch.from_numpy(targets - 1),
        torch.from_numpy(tokens_BL.ravel()[targets]),
        torch.from_numpy(documents_BL.ravel()[targets]),
        tuple(numbered),
    )


def modality_of(ids: Tensor, vocabulary: Mapping[str, Any]) -> Tensor:
    """The `Modality` of ids, given the vocabulary section of a version's manifest."""
    linguistic, semantic = int(vocabulary["linguistic"]["first"]), int(vocabulary["semantic"]["first"])
    is_code = (ids >= linguistic) & (ids < semantic + int(vocabulary["semantic"]["codes"]))
    return is_code.long() * (1 + (ids >= semantic).long())
