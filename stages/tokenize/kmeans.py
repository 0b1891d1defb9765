"""Mini-batch k-means, on a GPU if there is one.

Initialised by k-means++ (Arthur and Vassilvitskii, 2007), with mini-batch steps and a learning rate for each
centroid (Sculley, 2010). After each epoch, rarely used centroids are moved to poorly represented points.
Random numbers come from NumPy and sums have a fixed order, so that a seed always gives the same centroids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.tokenize.codebooks import Vectors

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 2048
"""Number of points whose distances to all centroids are in memory at a time."""
INITIAL_POINTS = 8192
"""Minimum number of points for the initialisation; at least eight per centroid."""
RARE = 1 / 20
"""Use of a centroid, as a share of the mean use, below which it is moved."""


def k_means(
    batches: Callable[[], Iterator[Vectors]],
    size: int,
    epochs: int,
    generator: np.random.Generator,
    progress: Callable[[str], None] = lambda _: None,
) -> Vectors:
    """Centroids [size, dimensions] of points [n, dimensions]; `batches()` yields all points for an epoch."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    centroids = _spread_start(_sample(batches(), max(INITIAL_POINTS, 8 * size), device), size, generator)
    taken = torch.zeros(size, device=device)
    for epoch in range(epochs):
        used = torch.zeros(size, device=device)
        error = points = 0.0
        far = centroids[:0]
        for batch in batches():
            vectors = torch.from_numpy(batch).to(device)
            codes, distances = _assigned(vectors, centroids)
            counts = torch.bincount(codes, minlength=size)
            used += counts
            taken += counts
            in_order = vectors[codes.argsort(stable=True)]
            sums = torch.segment_reduce(in_order, "sum", lengths=counts, axis=0)
            # Each centroid moves to the mean of all points that were ever assigned to it.
            centroids += (sums - counts[:, None] * centroids) / taken.clamp(min=1)[:, None]
            error += float(distances.sum())
            points += len(vectors)
            drawn = vectors[_drawn(distances, size // 8 + 1, generator)]
            far = torch.cat([far, drawn])[-4 * size :]
        progress(f"epoch {epoch + 1} of {epochs}: mean squared distance {error / points:.3f}")
        rare = torch.nonzero(used < points / size * RARE).flatten()
        if epoch < epochs - 2 and len(rare):
            centroids[rare] = far[torch.from_numpy(generator.integers(len(far), size=len(rare)))]
            taken[rare] = 0
    result: Vectors = centroids.cpu().numpy()
    return result


def _sample(batches: Iterator[Vectors], count: int, device: str) -> Tensor:
    """The first `count` points."""
    import torch

    rows: list[Vectors] = []
    length = 0
    for batch in batches:
        rows.append(batch)
        length += len(batch)
        if length >= count:
            break
    return torch.from_numpy(np.concatenate(rows)[:count]).to(device)


def _spread_start(points: Tensor, size: int, generator: np.random.Generator) -> Tensor:
    """k-means++: draw each centroid from the points in proportion to the squared distance to the others."""
    import torch

    chosen = [int(generator.integers(len(points)))]
    norms = points.square().sum(dim=1)
    nearest = torch.full((len(points),), torch.inf, device=points.device)
    while len(chosen) < size:
        last = points[chosen[-1]]
        distances = (norms - 2 * points @ last + last @ last).clamp(min=0)
        nearest = torch.minimum(nearest, distances)
        chosen += _drawn(nearest, 1, generator).tolist()
    return points[chosen]


def _drawn(weights: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    """Indices [count] drawn in proportion to weights, with replacement."""
    import torch

    total: NDArray[np.float64] = np.cumsum(weights.cpu().numpy(), dtype=np.float64)
    indices = np.searchsorted(total, generator.random(count) * total[-1]).clip(max=len(weights) - 1)
    return torch.from_numpy(indices).to(weights.device)


def _assigned(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest centroid of each point, and the squared distance to it."""
    import torch

    norms = centroids.square().sum(dim=1)
    # |x - c|^2 minus |x|^2, which is the same for every centroid.
    nearest = [torch.min(norms - 2 * rows @ centroids.T, dim=1) for rows in points.split(ROWS)]
    codes = torch.cat([best.indices for best in nearest])
    distances = torch.cat([best.values for best in nearest]) + points.square().sum(dim=1)
    return codes, distances.clamp(min=0)
