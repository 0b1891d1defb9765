"""Noise in the codes that a model hears: from few hours of speech it otherwise learns recordings by heart.

Runs of codes are replaced by random ones, as SpecAugment masks stretches of spectrograms (Park et al. 2019).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.train.batch import Batch, modality_of

LONGEST_RUN = 9
"""Codes, of which 5 last 120 ms."""


def with_noise(
    batch: Batch, share: float, seeds: Sequence[Sequence[int]], vocabulary: Mapping[str, Any]
) -> Batch:
    """The batch with about `share` of its heard codes, those that are no targets, replaced by random ones of
    their codebooks. Each of its sequences has a seed; `vocabulary` is that section of a manifest."""
    modality_BL = modality_of(batch.tokens_BL, vocabulary).numpy()
    is_target = np.zeros(modality_BL.size, bool)
    is_target[batch.at_N.numpy() + 1] = True
    heard_BL = (modality_BL > 0) & ~is_target.reshape(modality_BL.shape)
    tokens_BL = batch.tokens_BL.numpy().copy()
    for tokens_L, heard_L, modality_L, seed in zip(tokens_BL, heard_BL, modality_BL, seeds, strict=True):
        generator = np.random.default_rng(seed)
        hit_L = heard_L & _runs(len(tokens_L), share, generator)
        for modality, codebook in enumerate(("linguistic", "semantic"), 1):
            first, codes = vocabulary[codebook]["first"], vocabulary[codebook]["codes"]
            random_L = generator.integers(first, first + codes, len(tokens_L))
            tokens_L[:] = np.where(hit_L & (modality_L == modality), random_L, tokens_L)
    return replace(batch, tokens_BL=torch.from_numpy(tokens_BL))


def _runs(length: int, share: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """is_hit_L: runs of 1 to `LONGEST_RUN` positions that cover about `share` of all."""
    mean = (1 + LONGEST_RUN) / 2
    # A position is free if none of the runs that could reach it begins: (1 - begins) ^ mean.
    begins_L = generator.random(length) < 1 - (1 - share) ** (1 / mean)
    ends_L = np.where(
        begins_L, np.arange(length) + generator.integers(1, LONGEST_RUN, length, endpoint=True), 0
    )
    hit_L: NDArray[np.bool_] = np.maximum.accumulate(ends_L) > np.arange(length)
    return hit_L
