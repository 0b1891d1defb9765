"""Krippendorff's alpha: how far raters agree beyond chance (Krippendorff 2011, "Computing Krippendorff's
Alpha-Reliability")."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np

Metric = Literal["nominal", "ordinal", "interval"]
"""The distance of two values: unequal or not, how many values lie between them, or their difference."""


def alpha(units: Iterable[Sequence[float]], metric: Metric) -> float | None:
    """Agreement on some units, each given as the values that it got, one of each rater who rated it.

    1 is full agreement, 0 that of chance, and less is systematic disagreement. Units with one value say
    nothing and are left out. None if no unit has two values, or all values are equal.
    """
    rated = [list(values) for values in units if len(values) > 1]
    values = sorted({value for unit in rated for value in unit})
    if len(values) < 2:
        return None
    index = {value: position for position, value in enumerate(values)}
    coincidences = np.zeros((len(values), len(values)))
    for unit in rated:
        counts = Counter(unit)
        for one, ones in counts.items():
            for other, others in counts.items():
                pairs = ones * (others - (one == other))
                coincidences[index[one], index[other]] += pairs / (len(unit) - 1)
    totals = coincidences.sum(axis=0)
    distances = _SQUARED_DISTANCES[metric](np.array(values, float), totals)
    observed = (coincidences * distances).sum()
    expected = (np.outer(totals, totals) * distances).sum() / (totals.sum() - 1)
    return float(1 - observed / expected)


def _nominal(values: np.ndarray, totals: np.ndarray) -> np.ndarray:
    return 1.0 - np.eye(len(values))


def _ordinal(values: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """The number of values between two, half of the ends included, squared; shape (values, values)."""
    return _interval(np.cumsum(totals) - totals / 2, totals)


def _interval(values: np.ndarray, totals: np.ndarray) -> np.ndarray:
    return np.array(np.subtract.outer(values, values) ** 2)


_SQUARED_DISTANCES: dict[Metric, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
}
