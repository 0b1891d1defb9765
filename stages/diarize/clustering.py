"""How many speakers there are, and what the voice of each is.

Clustering begins with more clusters than there are speakers and joins the two most alike until none
are. Alike is measured free of noise: embeddings e of one voice agree among each other with a mean
cosine `w` (pairs of different pieces only), those of two voices with `c`, and c / sqrt(w1 w2) is 1 on
average for two halves of one voice however noisy the recording is, where the plain cosine of two
centroids falls with noise and rises with their size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]

CLUSTERS_AT_FIRST = 16
REFINEMENTS = 3
PRIOR_PAIRS = 3.0
"""In each voice's agreement that of the whole recording weighs like this many pairs of pieces."""
BY_CHANCE = 0.4
"""Voices of n pieces are one at this over n less alikeness: few pieces differ by chance."""


@dataclass(frozen=True)
class Voices:
    """Sums over the pieces of each of k voices; voices of one speaker add up."""

    sums: Vectors
    """Of unit-length embeddings times their weight, [k, d]."""
    weights: NDArray[np.float64]
    """Sum of weights, [k]; a full piece weighs 1."""
    squares: NDArray[np.float64]
    """Sum of squared weights, [k]."""

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def centroids(self) -> Vectors:
        """Unit-length, [k, d]."""
        return unit(self.sums)

    def merged(self, label: NDArray[np.int64]) -> "Voices":
        """The voices whose labels [k] are alike added up, in order of label; no label may be missing."""
        one = (label[None] == np.arange(label.max() + 1)[:, None]).astype(np.float64)
        return Voices(one @ self.sums, one @ self.weights, one @ self.squares)

    def alikeness(self) -> Vectors:
        """c / sqrt(w1 w2) of every two voices, about 1 for two of one speaker, [k, k]."""
        pairs = self.weights**2 - self.squares
        agreeing = (self.sums**2).sum(axis=1) - self.squares
        usual = agreeing.sum() / pairs.sum() if pairs.sum() > 0 else 1.0
        within = (agreeing + PRIOR_PAIRS * usual) / (pairs + PRIOR_PAIRS)
        across = (self.sums @ self.sums.T) / np.outer(self.weights, self.weights)
        return np.asarray(across / np.sqrt(np.maximum(np.outer(within, within), 1e-6)))


def stack(voices: list[Voices]) -> Voices:
    """All voices of all windows."""
    return Voices(
        np.concatenate([v.sums for v in voices]),
        np.concatenate([v.weights for v in voices]),
        np.concatenate([v.squares for v in voices]),
    )


def voices_in(
    contexts: Vectors,
    pieces: Vectors,
    weights: NDArray[np.float64],
    same: float,
    fewest: int = 1,
    most: int | None = None,
) -> Voices:
    """The voices in unit-length pieces [n, d] of these weights [n].

    Contexts [m, d] are means of pieces that local segmentation gives to one speaker: less noisy than
    pieces, so clustering begins with them; pieces then say what each voice is (spherical k-means).
    """
    centroids = _first(contexts, max(CLUSTERS_AT_FIRST, fewest))
    while True:
        found = _refined(centroids, pieces, weights)
        pair = _to_join(found, same, fewest, most)
        if pair is None:
            return found
        centroids = found.merged(_joining(len(found), pair)).centroids


def speakers_of(voices: Voices, same: float, fewest: int = 1, most: int | None = None) -> NDArray[np.int64]:
    """For each voice of any window the number of its speaker in the recording, [k]."""
    label = np.arange(len(voices))
    while pair := _to_join(voices, same, fewest, most):
        step = _joining(len(voices), pair)
        voices = voices.merged(step)
        label = step[label]
    return label


def nearest(pieces: Vectors, centroids: Vectors) -> NDArray[np.int64]:
    """For each piece [n, d] the most similar centroid, [n]."""
    return np.asarray((pieces @ centroids.T).argmax(axis=1))


def unit(vectors: Vectors) -> Vectors:
    """Vectors [.., d] scaled to length one."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _first(contexts: Vectors, clusters: int) -> Vectors:
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(contexts) == 1:
        return contexts
    label = fcluster(linkage(contexts, "average", metric="cosine"), clusters, "maxclust")
    return unit(np.array([contexts[label == k].mean(axis=0) for k in np.unique(label)]))


def _refined(centroids: Vectors, pieces: Vectors, weights: NDArray[np.float64]) -> Voices:
    """k-means; a centroid that no piece is nearest to goes away."""
    alone = Voices(pieces * weights[:, None], weights, weights**2)
    for _ in range(REFINEMENTS):
        _, label = np.unique(nearest(pieces, centroids), return_inverse=True)
        found = alone.merged(label)
        centroids = found.centroids
    return found


def _to_join(voices: Voices, same: float, fewest: int, most: int | None) -> tuple[int, int] | None:
    """The most alike two, where they are one speaker or there are too many."""
    if len(voices) <= max(1, fewest):
        return None
    alike = voices.alikeness()
    np.fill_diagonal(alike, -np.inf)
    chance = BY_CHANCE / np.minimum.outer(voices.weights, voices.weights)
    allowed = np.where(alike + chance > same, alike, -np.inf)
    if most is not None and len(voices) > most:
        allowed = alike
    pair = divmod(int(allowed.argmax()), len(voices))
    return pair if np.isfinite(allowed[pair]) else None


def _joining(voices: int, pair: tuple[int, int]) -> NDArray[np.int64]:
    """Labels [voices] in which the pair has become one."""
    label = np.arange(voices)
    label[max(pair)] = min(pair)
    return np.unique(label, return_inverse=True)[1]
