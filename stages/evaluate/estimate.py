"""Statistics over many utterances, with bootstrap confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE_PERCENT = 95


@dataclass(frozen=True)
class IntervalEstimate:
    value: float
    low: float
    high: float
    """Bounds of the 95 % bootstrap confidence interval (Efron 1979), resampled over utterances."""
    utterances: int


def ratio(parts: Sequence[float], wholes: Sequence[float], seed: int = 0) -> IntervalEstimate | None:
    """Estimate sum(parts) / sum(wholes), such as word errors over reference words.

    The bootstrap resamples utterances, not words, because errors within one utterance are correlated.

    Args:
        parts: numerator of each utterance.
        wholes: denominator of each utterance.
        seed: seed of the resampling.

    Returns:
        The estimate, or None if there are no utterances or the denominators sum to 0.
    """
    if not parts or not sum(wholes):
        return None
    part, whole = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    resampled = np.random.default_rng(seed).integers(0, len(part), (RESAMPLES, len(part)))
    denominators = whole[resampled].sum(1)
    values = part[resampled].sum(1)[denominators > 0] / denominators[denominators > 0]
    tail = (100 - CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return IntervalEstimate(float(part.sum() / whole.sum()), float(low), float(high), len(part))


def mean(values: Sequence[float | None], seed: int = 0) -> IntervalEstimate | None:
    """Estimate the mean over the utterances that have a value; None if none has one."""
    present = [value for value in values if value is not None]
    return ratio(present, [1.0] * len(present), seed)
