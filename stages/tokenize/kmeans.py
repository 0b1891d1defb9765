"""Mini-batch k-means, on a GPU where there is one.

k-means++ start (Arthur and Vassilvitskii, 2007), mini-batch steps with a learning rate a centroid (Sculley,
2010), codes that hardly anything uses moved to badly represented points after each epoch. Draws come from a
generator of numpy and sums are taken in a fixed order, so that the same seed gives the same centroids.
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
"""Points whose distances to all centroids are in memory at a time."""
START = 8192
"""At least so many points the start is drawn from, and eight for each centroid."""
SCARCE = 1 / 20
"""Of the mean use; a centroid below is moved."""


def k_means(
    batches: Callable[[], Iterator[Vectors]],
    size: int,
    epochs: int,
    generator: np.random.Generator,
    progress: Callable[[str], None] = lambda _: None,
) -> Vectors:
    """Centroids [size, dimensions] of points [n, dimensions], which `batches()` yields anew each epoch."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    centroids = _spread_start(_sample(batches(), max(START, 8 * size), device), size, generator)
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
            # Each centroid moves to the mean of all points it was ever given.
            centroids += (sums - counts[:, None] * centroids) / taken.clamp(min=1)[:, None]
            error += float(distances.sum())
            points += len(vectors)
            drawn = vectors[_drawn(distances, size // 8 + 1, generator)]
            far = torch.cat([far, drawn])[-4 * size :]
        progress(f"epoch {epoch + 1} of {epochs}: mean squared distance {error / points:.3f}")
        scarce = torch.nonzero(used < points / size * SCARCE).flatten()
        if epoch < epochs - 2 and len(scarce):
            centroids[scarce] = far[torch.from_numpy(generator.integers(len(far), size=len(scarce)))]
            taken[scarce] = 0
    found: Vectors = centroids.cpu().numpy()
    return found


def _sample(batches: Iterator[Vectors], count: int, device: str) -> Tensor:
    import torch

    rows: list[Vectors] = []
    for batch in batches:
        rows.append(batch)
        if sum(map(len, rows)) >= count:
            break
    return torch.from_numpy(np.concatenate(rows)[:count]).to(device)


def _spread_start(points: Tensor, size: int, generator: np.random.Generator) -> Tensor:
    """k-means++: each next centroid is a point drawn in proportion to its squared distance."""
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
    """Indices drawn in proportion to weights, with replacement."""
    import torch

    total: NDArray[np.float64] = np.cumsum(weights.cpu().numpy(), dtype=np.float64)
    found = np.searchsorted(total, generator.random(count) * total[-1]).clip(max=len(weights) - 1)
    return torch.from_numpy(found).to(weights.device)


def _assigned(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centroid of each point and the squared distance to it."""
    import torch

    norms = centroids.square().sum(dim=1)
    # |x - c|^2 without |x|^2, which is the same for every centroid.
    found = [torch.min(norms - 2 * rows @ centroids.T, dim=1) for rows in points.split(ROWS)]
    codes = torch.cat([best.indices for best in found])
    distances = torch.cat([best.values for best in found]) + points.square().sum(dim=1)
    return codes, distances.clamp(min=0)
