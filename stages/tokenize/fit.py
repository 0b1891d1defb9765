"""Fitting of codebooks: principal components, then mini-batch k-means, over any amount of speech.

Pooled states are written to disk in half precision as they come (150 MB an hour at width 512) and read back
in mini-batches, so that memory does not grow with the speech and the encoder runs once.

k-means: k-means++ start (Arthur and Vassilvitskii, 2007), mini-batch steps with a learning rate a centroid
(Sculley, 2010), codes that nothing uses moved to badly represented states after each epoch.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SetupError
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.codebooks import Codebook, Codebooks, States
from stages.tokenize.tokenizer import peak_normalised
from stages.tokenize.whisper import LINGUISTIC_STATES, SEMANTIC_STATES, WhisperEncoder, averaged

Progress = Callable[[str], None]

BLOCK = 64
"""Neighbouring states that stay together when states are shuffled."""
BATCH = 8192
"""States of one mini-batch."""


@dataclass(frozen=True)
class FitConfig:
    """How codebooks are fitted; the sizes of the two are the vocabulary's."""

    linguistic_size: int = LINGUISTIC_CODES
    semantic_size: int = SEMANTIC_CODES
    dimensions: int = 128
    """Principal components kept: with 128 both codebooks are 1.6 MB."""
    epochs: int = 12
    seed: int = 0


@dataclass(frozen=True)
class Use:
    """How evenly a codebook is used over some speech."""

    codes: int
    share: float
    """Of the codebook's entries that occur."""
    perplexity: float
    """exp of the entropy of the codes: the number of entries that an evenly used codebook would have."""


def use_of(counts: NDArray[np.int64]) -> Use:
    """Use of a codebook from how often each of its entries occurs."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return Use(int(counts.sum()), float((counts > 0).mean()), float(np.exp(-(shares * np.log(shares)).sum())))


@dataclass(frozen=True)
class Fitted:
    """Codebooks, and how the speech that they were fitted to uses them."""

    codebooks: Codebooks
    linguistic: Use
    semantic: Use


def fit(
    utterances: Iterable[Samples],
    encoder: WhisperEncoder,
    config: FitConfig,
    scratch: Path,
    progress: Progress = lambda _: None,
) -> Fitted:
    """Codebooks for the states of `encoder`, fitted to utterances of float32 [n] at 16 kHz.

    `scratch` is where the states are kept on disk meanwhile. Raises SetupError for too little speech.
    """
    with TemporaryDirectory(dir=scratch, prefix="states-") as folder:
        linguistic = _PooledStates(Path(folder) / "linguistic", encoder.width)
        semantic = _PooledStates(Path(folder) / "semantic", encoder.width)
        seconds, told = 0.0, 0.0
        for samples in utterances:
            for states in encoder.states(peak_normalised(samples)):
                linguistic.add(averaged(states, LINGUISTIC_STATES))
                semantic.add(averaged(states, SEMANTIC_STATES))
            seconds += len(samples) / SAMPLE_RATE
            if seconds >= told + 300:
                told = seconds
                progress(f"{seconds / 60:.0f} minutes of speech encoded")
        codebooks = Codebooks(
            _codebook("linguistic", linguistic, config.linguistic_size, config, progress),
            _codebook("semantic", semantic, config.semantic_size, config, progress),
            encoder.sha256,
        )
        return Fitted(
            codebooks,
            _use(codebooks.linguistic, linguistic, config),
            _use(codebooks.semantic, semantic, config),
        )


class _PooledStates:
    """States on disk in half precision, with their mean and covariance so far."""

    def __init__(self, path: Path, width: int) -> None:
        self._path = path
        self.width = width
        self._sum = np.zeros(width)
        self._products = np.zeros((width, width))
        self.count = 0

    def add(self, states: States) -> None:
        """Append states [n, width]."""
        exact = states.astype(np.float64)
        self._sum += exact.sum(axis=0)
        self._products += exact.T @ exact
        with self._path.open("ab") as file:
            file.write(states.astype(np.float16).tobytes())
        self.count += len(states)

    def principal_components(self, dimensions: int) -> tuple[States, States, float]:
        """Mean [width], components [width, dimensions] and the share of the variance that they keep."""
        mean = self._sum / self.count
        variances, vectors = np.linalg.eigh(self._products / self.count - np.outer(mean, mean))
        components = vectors[:, ::-1][:, :dimensions]
        # Of the two opposite directions the one whose largest entry is positive.
        largest = np.abs(components).argmax(axis=0)
        components = components * np.sign(components[largest, np.arange(components.shape[1])])
        kept = variances[-dimensions:].sum() / variances.sum()
        return mean.astype(np.float32), components.astype(np.float32), float(kept)

    def batches(self, generator: np.random.Generator) -> Iterator[States]:
        """All states in mini-batches, shuffled by blocks of neighbours."""
        states = np.memmap(self._path, np.float16, "r", shape=(self.count, self.width))
        starts = generator.permutation(np.arange(0, self.count, BLOCK))
        for first in range(0, len(starts), BATCH // BLOCK):
            blocks = [states[start : start + BLOCK] for start in starts[first : first + BATCH // BLOCK]]
            yield np.concatenate(blocks).astype(np.float32)


def _codebook(name: str, pooled: _PooledStates, size: int, config: FitConfig, progress: Progress) -> Codebook:
    if pooled.count < size:
        raise SetupError(
            f"too little speech for {size} {name} codes: it holds {pooled.count} states, "
            f"and {40 * size} or more are advisable"
        )
    generator = np.random.default_rng(config.seed)
    mean, components, kept = pooled.principal_components(min(config.dimensions, pooled.width))
    progress(f"{name}: {components.shape[1]} principal components keep {kept:.1%} of the variance")

    def batches() -> Iterator[States]:
        for states in pooled.batches(generator):
            yield ((states - mean) @ components).astype(np.float32)

    def epoch_done(text: str) -> None:
        progress(f"{name}: {text}")

    centroids = k_means(batches, size, config.epochs, generator, epoch_done)
    return Codebook(mean.astype(np.float16), components.astype(np.float16), centroids.astype(np.float16))


def _use(codebook: Codebook, pooled: _PooledStates, config: FitConfig) -> Use:
    counts = np.zeros(codebook.size, np.int64)
    for states in pooled.batches(np.random.default_rng(config.seed)):
        for rows in np.array_split(states, 8):
            counts += np.bincount(codebook.nearest(rows), minlength=codebook.size)
    return use_of(counts)


def k_means(
    batches: Callable[[], Iterator[States]],
    size: int,
    epochs: int,
    generator: np.random.Generator,
    progress: Progress = lambda _: None,
) -> States:
    """Centroids [size, dimensions] of points [n, dimensions], which `batches()` yields anew each epoch."""
    centroids = _spread_start(_sample(batches(), max(BATCH, 8 * size)), size, generator)
    taken = np.zeros(size)
    for epoch in range(epochs):
        used = np.zeros(size)
        error = points = 0.0
        far = centroids[:0]
        for batch in batches():
            codes, distances = _assigned(batch, centroids)
            counts = np.bincount(codes, minlength=size)
            hit = counts > 0
            sums = np.zeros(centroids.shape, np.float32)
            np.add.at(sums, codes, batch)
            used += counts
            taken += counts
            rate = (counts / np.maximum(taken, 1))[hit, None]
            means = sums[hit] / counts[hit, None]
            centroids[hit] += (rate * (means - centroids[hit])).astype(np.float32)
            error += float(distances.sum())
            points += len(batch)
            drawn = batch[_drawn(distances, size // 8 + 1, generator)]
            far = np.concatenate([far, drawn])[-4 * size :]
        dead = np.flatnonzero(used < points / size / 20)
        progress(f"epoch {epoch + 1} of {epochs}: mean squared distance {error / points:.3f}")
        if epoch < epochs - 2 and len(dead):
            centroids[dead] = generator.choice(far, len(dead))
            taken[dead] = 0
    return centroids


def _sample(batches: Iterator[States], count: int) -> States:
    rows: list[States] = []
    for batch in batches:
        rows.append(batch)
        if sum(map(len, rows)) >= count:
            break
    return np.concatenate(rows)[:count]


def _spread_start(points: States, size: int, generator: np.random.Generator) -> States:
    """k-means++: each next centroid is a point drawn in proportion to its squared distance."""
    chosen = [int(generator.integers(len(points)))]
    norms = (points**2).sum(axis=1)
    nearest = np.full(len(points), np.inf, np.float32)
    while len(chosen) < size:
        last = points[chosen[-1]]
        nearest = np.minimum(nearest, np.maximum(norms - 2 * points @ last + last @ last, 0))
        chosen.append(int(_drawn(nearest, 1, generator)[0]))
    return points[chosen]


def _drawn(weights: NDArray[np.float32], count: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """Indices drawn in proportion to weights, with replacement."""
    total = np.cumsum(weights, dtype=np.float64)
    found: NDArray[np.intp] = np.searchsorted(total, generator.random(count) * total[-1])
    return found.clip(max=len(weights) - 1)


def _assigned(points: States, centroids: States) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Nearest centroid of each point and the squared distance to it."""
    codes, distances = [], []
    norms = (centroids**2).sum(axis=1)
    for rows in np.array_split(points, max(1, len(points) // 2048)):
        scores = norms - 2 * rows @ centroids.T
        best = scores.argmin(axis=1)
        codes.append(best)
        distances.append(np.maximum(scores[np.arange(len(rows)), best] + (rows**2).sum(axis=1), 0))
    return np.concatenate(codes), np.concatenate(distances)
