"""Clustering of speaker embeddings: how many speakers there are, and the voice of each.

Clustering starts with more clusters than there are speakers and merges the two most similar ones
until no two are similar enough. Similarity is corrected for noise: let `w` be the mean cosine
between embeddings within a cluster (over pairs of different pieces), and `c` the mean cosine between
the embeddings of two clusters. Then c / sqrt(w1 w2) is 1 on average for two halves of one voice,
however noisy the recording is, whereas the cosine of two centroids falls with noise and rises with
the size of the clusters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]

INITIAL_CLUSTERS = 16
KMEANS_ITERATIONS = 3
PRIOR_PAIRS = 3.0
"""Weight, in pairs of pieces, of the expected similarity in the mean within each cluster."""
CHANCE = 0.18
"""Clusters of n pieces are merged at a similarity that is lower by this divided by the square root of n,
since the similarity between small clusters varies by chance."""


@dataclass(frozen=True)
class VoiceClusters:
    """k clusters of speaker embeddings, each kept as sums over its pieces, which add up when merged."""

    sums: Vectors
    """Weighted sums of the unit-length embeddings, [k, d]."""
    weights: NDArray[np.float64]
    """Sums of the weights, [k]; a piece of full length has the weight 1."""
    squares: NDArray[np.float64]
    """Sums of the squared weights, [k]."""

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def centroids(self) -> Vectors:
        """Unit-length, [k, d]."""
        return unit(self.sums)

    def merged(self, label: NDArray[np.int64]) -> "VoiceClusters":
        """Clusters in which those with equal labels [k] are merged, in order of label.

        Labels must be 0, 1, .. without a gap.
        """
        members = (label[None] == np.arange(label.max() + 1)[:, None]).astype(np.float64)
        return VoiceClusters(members @ self.sums, members @ self.weights, members @ self.squares)

    def similarity(self, expected: float | None = None) -> Vectors:
        """c / sqrt(w1 w2) of every two clusters, [k, k]; about 1 for clusters of one speaker.

        `expected` is the mean cosine to expect within a cluster of few pieces; by default, the mean over all
        clusters.
        """
        pairs = self.weights**2 - self.squares
        cosines = (self.sums**2).sum(axis=1) - self.squares
        mean = cosines.sum() / pairs.sum() if pairs.sum() > 0 else 1.0
        if expected is not None:
            mean = expected
        within = (cosines + PRIOR_PAIRS * mean) / (pairs + PRIOR_PAIRS)
        between = (self.sums @ self.sums.T) / np.outer(self.weights, self.weights)
        return np.asarray(between / np.sqrt(np.maximum(np.outer(within, within), 1e-6)))


def stack(clusters: list[VoiceClusters]) -> VoiceClusters:
    """The clusters of several windows as one, in order."""
    return VoiceClusters(
        np.concatenate([c.sums for c in clusters]),
        np.concatenate([c.weights for c in clusters]),
        np.concatenate([c.squares for c in clusters]),
    )


def cluster_pieces(
    contexts: Vectors,
    pieces: Vectors,
    weights: NDArray[np.float64],
    same: float,
    expected: float,
    fewest: int = 1,
    most: int | None = None,
) -> VoiceClusters:
    """Clusters of unit-length embeddings of pieces [n, d] with weights [n], one for each voice.

    Contexts [m, d] are mean embeddings of pieces that the local segmentation assigns to one speaker. They
    are less noisy, so clustering starts from them; then clusters are refined on pieces by spherical k-means.
    `expected` is the mean cosine to expect between pieces of one voice. It must not come from the clusters:
    among few pieces, one wrong merge would lower it and so permit the next.
    """
    centroids = _initial_centroids(contexts, max(INITIAL_CLUSTERS, fewest))
    while True:
        clusters = _refined(centroids, pieces, weights)
        pair = _pair_to_merge(clusters, same, fewest, most, expected)
        if pair is None:
            return clusters
        centroids = clusters.merged(_merging(len(clusters), pair)).centroids


def speakers_of(
    clusters: VoiceClusters, same: float, fewest: int = 1, most: int | None = None
) -> NDArray[np.int64]:
    """Number of the speaker of each cluster in the recording, [k], from the clusters of all windows."""
    label = np.arange(len(clusters))
    while pair := _pair_to_merge(clusters, same, fewest, most):
        step = _merging(len(clusters), pair)
        clusters = clusters.merged(step)
        label = step[label]
    return label


def nearest(pieces: Vectors, centroids: Vectors) -> NDArray[np.int64]:
    """Index of the most similar centroid [k, d] for each piece [n, d], [n]."""
    return np.asarray((pieces @ centroids.T).argmax(axis=1))


def unit(vectors: Vectors) -> Vectors:
    """Vectors [.., d] scaled to unit length."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _initial_centroids(contexts: Vectors, clusters: int) -> Vectors:
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(contexts) == 1:
        return contexts
    label = fcluster(linkage(contexts, "average", metric="cosine"), clusters, "maxclust")
    return unit(np.array([contexts[label == k].mean(axis=0) for k in np.unique(label)]))


def _refined(centroids: Vectors, pieces: Vectors, weights: NDArray[np.float64]) -> VoiceClusters:
    """Clusters after k-means; centroids without pieces are dropped."""
    singles = VoiceClusters(pieces * weights[:, None], weights, weights**2)
    for _ in range(KMEANS_ITERATIONS):
        _, label = np.unique(nearest(pieces, centroids), return_inverse=True)
        clusters = singles.merged(label)
        centroids = clusters.centroids
    return clusters


def _pair_to_merge(
    clusters: VoiceClusters, same: float, fewest: int, most: int | None, expected: float | None = None
) -> tuple[int, int] | None:
    """The two most similar clusters, if they are of one speaker or there are too many clusters."""
    if len(clusters) <= max(1, fewest):
        return None
    similarity = clusters.similarity(expected)
    np.fill_diagonal(similarity, -np.inf)
    margin = CHANCE / np.sqrt(np.minimum.outer(clusters.weights, clusters.weights))
    allowed = np.where(similarity + margin > same, similarity, -np.inf)
    if most is not None and len(clusters) > most:
        allowed = similarity
    pair = divmod(int(allowed.argmax()), len(clusters))
    return pair if np.isfinite(allowed[pair]) else None


def _merging(clusters: int, pair: tuple[int, int]) -> NDArray[np.int64]:
    """Labels [clusters] that merge the pair."""
    label = np.arange(clusters)
    label[max(pair)] = min(pair)
    return np.unique(label, return_inverse=True)[1]
