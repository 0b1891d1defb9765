"""Embeddings of codes that are products: a semantic code's is the sum of those of its factors.

One of 4,096 codes is rare, while each of its factors (such as pitch, energy and content) is frequent.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.vocabulary import LINGUISTIC_CODES
from stages.train.vocoder.shape import FlowShape


class FactorEmbedding(nn.Module):
    """Embeddings of linguistic codes, followed by those of each factor's values."""

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.factors = shape.factors
        self.weight = nn.Parameter(torch.randn(LINGUISTIC_CODES + sum(shape.factors), shape.width))

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """x_BLD of numbers N of `<audio_N>`."""
        linguistic_BL = tokens_BL.clamp(max=LINGUISTIC_CODES - 1)
        semantic_BL1 = (tokens_BL >= LINGUISTIC_CODES)[..., None]
        by_factor = sum(F.embedding(rows_BL, self.weight) for rows_BL in self._rows(tokens_BL))
        return torch.where(semantic_BL1, by_factor, F.embedding(linguistic_BL, self.weight))

    def _rows(self, tokens_BL: Tensor) -> list[Tensor]:
        """The row of each factor's value; those of linguistic codes mean nothing."""
        rest_BL = (tokens_BL - LINGUISTIC_CODES).clamp(min=0)
        rows, first = [], LINGUISTIC_CODES
        for size in self.factors:
            rows.append(first + rest_BL % size)
            first += size
            rest_BL = rest_BL // size
        return rows

    @torch.no_grad()
    def fit(self, embedding_CD: Tensor, counts_C: Tensor) -> None:
        """Start from embeddings of all codes, on the CPU: a value of a factor gets the mean deviation of the
        codes that have it, weighted by how often they occur."""
        semantic_CD = embedding_CD[LINGUISTIC_CODES:]
        weight_C1 = counts_C[LINGUISTIC_CODES:, None].to(semantic_CD) + 1e-3
        mean_D = (semantic_CD * weight_C1).sum(0) / weight_C1.sum()
        fitted = torch.zeros(self.weight.shape)
        fitted[:LINGUISTIC_CODES] = embedding_CD[:LINGUISTIC_CODES]
        codes_C = torch.arange(len(semantic_CD)) + LINGUISTIC_CODES
        for rows_C in self._rows(codes_C):
            sums = torch.zeros(fitted.shape).index_add_(0, rows_C, (semantic_CD - mean_D) * weight_C1)
            weights = torch.zeros(len(fitted)).index_add_(0, rows_C, weight_C1[:, 0])
            used = weights > 0
            fitted[used] = sums[used] / weights[used, None]
        first = LINGUISTIC_CODES + self.factors[0]
        fitted[LINGUISTIC_CODES:first] += mean_D
        self.weight.copy_(fitted)
