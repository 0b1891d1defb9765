"""Figures over many utterances, with how far they can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
INSIDE = 95
"""Percent of the draws that lie in an interval."""


@dataclass(frozen=True)
class IntervalEstimate:
    value: float
    low: float
    high: float
    """Bootstrap interval of 95 %: what other utterances of this kind might have given (Efron 1979)."""
    utterances: int


def ratio(parts: Sequence[float], wholes: Sequence[float], seed: int = 0) -> IntervalEstimate | None:
    """sum(parts) / sum(wholes), such as all wrong words of all words; None of nothing.

    Utterances, not words, are drawn again: the words of one are wrong together.
    """
    if not parts or not sum(wholes):
        return None
    part, whole = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(part), (DRAWS, len(part)))
    below = whole[drawn].sum(1)
    values = part[drawn].sum(1)[below > 0] / below[below > 0]
    edge = (100 - INSIDE) / 2
    low, high = np.percentile(values, [edge, 100 - edge])
    return IntervalEstimate(float(part.sum() / whole.sum()), float(low), float(high), len(part))


def mean(values: Sequence[float | None], seed: int = 0) -> IntervalEstimate | None:
    """Of the utterances that have the measure."""
    known = [value for value in values if value is not None]
    return ratio(known, [1.0] * len(known), seed)
