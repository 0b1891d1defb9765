"""Fits codebooks to any amount of speech: a projection to principal components, then mini-batch k-means.

The encoder runs once. Its frames are stored on disk in half precision and read back in mini-batches, so that
memory doesn't grow with the amount of speech. Nor does disk use: of a long input a uniform sample of 512
frames per code is kept (nine hours of linguistic and 23 hours of semantic frames, 3 GB at width 512).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SetupError
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.acoustics import PITCH
from stages.tokenize.codebooks import Codebook, Codebooks, Vectors
from stages.tokenize.kmeans import k_means
from stages.tokenize.tokenizer import peak_normalised
from stages.tokenize.whisper import WhisperEncoder
from stages.tokenize.windows import windows

Progress = Callable[[str], None]

BLOCK = 64
"""Consecutive frames that stay together when frames are sampled and shuffled."""
BATCH = 8192
"""Frames per mini-batch."""
FRAMES_PER_CODE = 512
"""Frames kept on disk per code."""


@dataclass(frozen=True)
class FeatureWeights:
    """Variance of each kind of feature in the projected semantic frames, which is its weight in distances."""

    words: float = 1.0
    """Of the encoder states."""
    spectrum: float = 0.5
    """Of the log-mel spectrum, including its energy."""
    pitch: float = 0.5


@dataclass(frozen=True)
class FitConfig:
    """How to fit codebooks. By default, their sizes are those in the vocabulary."""

    linguistic_size: int = LINGUISTIC_CODES
    semantic_size: int = SEMANTIC_CODES
    linguistic_dimensions: int = 128
    """Principal components of the encoder states for linguistic codes."""
    state_dimensions: int = 64
    """Principal components of the encoder states for semantic codes."""
    spectrum_dimensions: int = 24
    """Principal components of the log-mel spectrum for semantic codes."""
    weights: FeatureWeights = FeatureWeights()
    epochs: int = 12
    seed: int = 0


@dataclass(frozen=True)
class CodeUsage:
    """How evenly the codes of some speech use a codebook."""

    codes: int
    """Number of codes."""
    share: float
    """Share of the codebook's entries that occur."""
    perplexity: float
    """exp of the entropy of the codes: the size of an evenly used codebook with the same entropy."""


def use_of(counts: NDArray[np.int64]) -> CodeUsage:
    """The use of a codebook, from the number of occurrences of each entry."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return CodeUsage(
        int(counts.sum()), float((counts > 0).mean()), float(np.exp(-(shares * np.log(shares)).sum()))
    )


@dataclass(frozen=True)
class FitResult:
    """Codebooks, and their use by the speech that they were fitted to."""

    codebooks: Codebooks
    linguistic: CodeUsage
    semantic: CodeUsage


def fit(
    utterances: Iterable[Samples],
    encoder: WhisperEncoder,
    config: FitConfig,
    scratch: Path,
    progress: Progress = lambda _: None,
) -> FitResult:
    """Fit codebooks to the frames of utterances (float32 [n] at 16 kHz) in `encoder`.

    Frames are stored in a temporary folder in `scratch`. Raises SetupError if there is too little speech.
    """
    words = FeatureGroup(encoder.width, config.linguistic_dimensions, config.weights.words)
    states = FeatureGroup(encoder.width, config.state_dimensions, config.weights.words)
    spectrum = FeatureGroup(encoder.bands, config.spectrum_dimensions, config.weights.spectrum)
    pitch = FeatureGroup(PITCH, PITCH, config.weights.pitch)
    with TemporaryDirectory(dir=scratch, prefix="frames-") as folder:
        linguistic = FrameReservoir(
            Path(folder) / "linguistic", (words,), config.linguistic_size * FRAMES_PER_CODE, config.seed
        )
        semantic = FrameReservoir(
            Path(folder) / "semantic",
            (states, spectrum, pitch),
            config.semantic_size * FRAMES_PER_CODE,
            config.seed,
        )
        seconds, reported = 0.0, 0.0
        for samples in utterances:
            for frames in encoder.frames(windows(peak_normalised(samples))):
                linguistic.add(frames.linguistic)
                semantic.add(frames.semantic)
            seconds += len(samples) / SAMPLE_RATE
            if seconds >= reported + 300:
                reported = seconds
                progress(f"{seconds / 60:.0f} minutes of speech encoded")
        codebooks = Codebooks(
            fit_codebook(
                "linguistic", linguistic, config.linguistic_size, config.epochs, config.seed, progress
            ),
            fit_codebook("semantic", semantic, config.semantic_size, config.epochs, config.seed, progress),
            encoder.sha256,
        )
        return FitResult(
            codebooks,
            _use(codebooks.linguistic, linguistic),
            _use(codebooks.semantic, semantic),
        )


@dataclass(frozen=True)
class FeatureGroup:
    """One kind of feature in the vector of a frame."""

    width: int
    """Number of features."""
    dimensions: int
    """Number of principal components to keep."""
    weight: float
    """Total variance to which the kept components are scaled."""


class FrameReservoir:
    """A uniform sample of at most `size` vectors, on disk in half precision, and the statistics of all."""

    def __init__(self, path: Path, groups: Sequence[FeatureGroup], size: int, seed: int) -> None:
        self._groups = groups
        self.width = sum(group.width for group in groups)
        self._sum = np.zeros(self.width)
        self._products = np.zeros((self.width, self.width))
        self.count = 0
        self._generator = np.random.default_rng(seed)
        # A sparse file, so that unused blocks take no space.
        self._kept = np.memmap(path, np.float16, "w+", shape=(size // BLOCK, BLOCK, self.width))
        self._blocks = 0
        self._rest = np.zeros((0, self.width), np.float16)

    def add(self, vectors: Vectors) -> None:
        """Add vectors [n, width], and keep blocks of them with equal probability."""
        exact = vectors.astype(np.float64)
        self._sum += exact.sum(axis=0)
        self._products += exact.T @ exact
        self.count += len(vectors)
        waiting = np.concatenate([self._rest, vectors.astype(np.float16)])
        whole = len(waiting) // BLOCK * BLOCK
        self._rest = waiting[whole:]
        for block in waiting[:whole].reshape(-1, BLOCK, self.width):
            # Reservoir sampling: once all slots are full, a block replaces a random one or is dropped.
            slot = self._blocks
            if slot >= len(self._kept):
                slot = int(self._generator.integers(self._blocks + 1))
            if slot < len(self._kept):
                self._kept[slot] = block
            self._blocks += 1

    def projection(self) -> tuple[Vectors, Vectors]:
        """Mean [width], and projection [width, dimensions] to weighted principal components of each group."""
        mean = self._sum / self.count
        covariance = self._products / self.count - np.outer(mean, mean)
        projection = np.zeros((self.width, sum(group.dimensions for group in self._groups)))
        row = column = 0
        for group in self._groups:
            own = slice(row, row + group.width)
            variances, vectors = np.linalg.eigh(covariance[own, own])
            components = vectors[:, ::-1][:, : group.dimensions]
            # The sign of a component is arbitrary: make its largest entry positive.
            largest = np.abs(components).argmax(axis=0)
            components = components * np.sign(components[largest, np.arange(components.shape[1])])
            scale = np.sqrt(group.weight / variances[-group.dimensions :].sum())
            projection[own, column : column + group.dimensions] = components * scale
            row, column = row + group.width, column + group.dimensions
        return mean.astype(np.float32), projection.astype(np.float32)

    def batches(self, generator: np.random.Generator) -> Iterator[Vectors]:
        """The kept vectors in mini-batches [n, width], shuffled in blocks."""
        order = generator.permutation(min(self._blocks, len(self._kept)))
        for first in range(0, len(order), BATCH // BLOCK):
            blocks = self._kept[order[first : first + BATCH // BLOCK]]
            yield blocks.reshape(-1, self.width).astype(np.float32)


def fit_codebook(
    name: str,
    frames: FrameReservoir,
    size: int,
    epochs: int,
    seed: int,
    progress: Progress = lambda _: None,
) -> Codebook:
    """Fit a codebook of `size` entries to frames. Raises SetupError if there are too few."""
    if frames.count < size + BLOCK:
        raise SetupError(
            f"too little speech for {size} {name} codes: it has {frames.count} frames, "
            f"and at least {40 * size} are recommended"
        )
    generator = np.random.default_rng(seed)
    mean, projection = frames.projection()

    def batches() -> Iterator[Vectors]:
        for vectors in frames.batches(generator):
            yield ((vectors - mean) @ projection).astype(np.float32)

    def epoch_done(text: str) -> None:
        progress(f"{name}: {text}")

    centroids = k_means(batches, size, epochs, generator, epoch_done)
    return Codebook(mean.astype(np.float16), projection.astype(np.float16), centroids.astype(np.float16))


def _use(codebook: Codebook, frames: FrameReservoir) -> CodeUsage:
    counts = np.zeros(codebook.size, np.int64)
    for vectors in frames.batches(np.random.default_rng()):
        for rows in np.array_split(vectors, 8):
            counts += np.bincount(codebook.nearest(rows), minlength=codebook.size)
    return use_of(counts)
