"""Rows of embeddings and head that are trained while the others are frozen.

They are a parameter of their own, so that only they have a gradient and optimizer moments.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

ADDED_ROWS = "added_rows"


def train_rows(end: nn.Module, first: int, rows: int) -> None:
    """Use a parameter in place of the rows `first` to `first + rows` of embeddings or of a head [V, D]."""
    weight = cast(Tensor, end.weight)
    added = torch.empty(rows, weight.shape[1], device=weight.device)
    end.register_parameter(ADDED_ROWS, nn.Parameter(added))
    cast(Any, end).first_row = first
    if not isinstance(end, nn.Embedding):
        return  # a head's weight is read by `weight_of`
    look_up = end.forward

    def forward(ids: Tensor) -> Tensor:
        frozen = end._parameters["weight"]
        end._parameters["weight"] = cast(nn.Parameter, weight_of(end))
        try:
            return look_up(ids)
        finally:
            end._parameters["weight"] = frozen

    cast(Any, end).forward = forward


def weight_of(end: nn.Module) -> Tensor:
    """The weight [V, D] of embeddings or head, with the rows that are trained."""
    weight = cast(Tensor, end.weight)
    added = getattr(end, ADDED_ROWS, None)
    return weight if added is None else with_rows(weight, added, cast(int, end.first_row))


def with_rows(weight: Tensor, rows: Tensor, first: int) -> Tensor:
    return torch.cat([weight[:first], rows, weight[first + len(rows) :]])
