"""Fitting of codebooks: a projection from principal components, then mini-batch k-means, over any amount of
speech.

Frames are written to disk in half precision as they come and read back in mini-batches, so that the encoder
runs once and memory does not grow with the speech. Disk does not either: of long speech an even sample is
kept, 512 frames for each code (nine hours of linguistic and 23 of semantic frames, 3 GB at width 512).
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
from stages.tokenize.whisper import WhisperEncoder, windows

Progress = Callable[[str], None]

BLOCK = 64
"""Neighbouring frames that stay together when frames are sampled and shuffled."""
BATCH = 8192
"""Frames of one mini-batch."""
KEPT = 512
"""Frames kept on disk for each code."""


@dataclass(frozen=True)
class Weights:
    """What counts in the distance between semantic frames: each kind of feature's share of the variance."""

    words: float = 1.0
    """Of the encoder's states."""
    spectrum: float = 0.5
    """Of the log-mel spectrum, energy included."""
    pitch: float = 0.5


@dataclass(frozen=True)
class FitConfig:
    """How codebooks are fitted; the sizes of the two are the vocabulary's."""

    linguistic_size: int = LINGUISTIC_CODES
    semantic_size: int = SEMANTIC_CODES
    linguistic_dimensions: int = 128
    """Principal components of the encoder's states that linguistic codes are told by."""
    state_dimensions: int = 64
    """Those that semantic codes are told by."""
    spectrum_dimensions: int = 24
    """Principal components of the log-mel spectrum that are kept."""
    weights: Weights = Weights()
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
    """Codebooks for the frames of `encoder`, fitted to utterances of float32 [n] at 16 kHz.

    `scratch` is where frames are kept on disk meanwhile. Raises SetupError for too little speech.
    """
    words = Part(encoder.width, config.linguistic_dimensions, config.weights.words)
    states = Part(encoder.width, config.state_dimensions, config.weights.words)
    spectrum = Part(encoder.bands, config.spectrum_dimensions, config.weights.spectrum)
    pitch = Part(PITCH, PITCH, config.weights.pitch)
    with TemporaryDirectory(dir=scratch, prefix="frames-") as folder:
        linguistic = KeptFrames(
            Path(folder) / "linguistic", (words,), config.linguistic_size * KEPT, config.seed
        )
        semantic = KeptFrames(
            Path(folder) / "semantic", (states, spectrum, pitch), config.semantic_size * KEPT, config.seed
        )
        seconds, told = 0.0, 0.0
        for samples in utterances:
            for frames in encoder.frames(windows(peak_normalised(samples))):
                linguistic.add(frames.linguistic)
                semantic.add(frames.semantic)
            seconds += len(samples) / SAMPLE_RATE
            if seconds >= told + 300:
                told = seconds
                progress(f"{seconds / 60:.0f} minutes of speech encoded")
        codebooks = Codebooks(
            codebook("linguistic", linguistic, config.linguistic_size, config.epochs, config.seed, progress),
            codebook("semantic", semantic, config.semantic_size, config.epochs, config.seed, progress),
            encoder.sha256,
        )
        return Fitted(
            codebooks,
            _use(codebooks.linguistic, linguistic),
            _use(codebooks.semantic, semantic),
        )


@dataclass(frozen=True)
class Part:
    """One kind of feature in a frame's vector."""

    width: int
    dimensions: int
    """Principal components kept."""
    weight: float
    """Variance that the kept components are scaled to, all together."""


class KeptFrames:
    """An even sample of vectors on disk in half precision, and mean and covariance of all."""

    def __init__(self, path: Path, parts: Sequence[Part], most: int, seed: int) -> None:
        self._parts = parts
        self.width = sum(part.width for part in parts)
        self._sum = np.zeros(self.width)
        self._products = np.zeros((self.width, self.width))
        self.count = 0
        self._generator = np.random.default_rng(seed)
        # A sparse file: what is never written takes no space.
        self._kept = np.memmap(path, np.float16, "w+", shape=(most // BLOCK, BLOCK, self.width))
        self._blocks = 0
        self._rest = np.zeros((0, self.width), np.float16)

    def add(self, vectors: Vectors) -> None:
        """Take vectors [n, width] into account, and keep blocks of them with equal chance."""
        exact = vectors.astype(np.float64)
        self._sum += exact.sum(axis=0)
        self._products += exact.T @ exact
        self.count += len(vectors)
        waiting = np.concatenate([self._rest, vectors.astype(np.float16)])
        whole = len(waiting) // BLOCK * BLOCK
        self._rest = waiting[whole:]
        for block in waiting[:whole].reshape(-1, BLOCK, self.width):
            # The first fill the places; each later one takes that of any before, or its own, and is lost.
            place = self._blocks
            if place >= len(self._kept):
                place = int(self._generator.integers(self._blocks + 1))
            if place < len(self._kept):
                self._kept[place] = block
            self._blocks += 1

    def projection(self) -> tuple[Vectors, Vectors]:
        """Mean [width], and projection [width, dimensions] to each part's principal components, weighted."""
        mean = self._sum / self.count
        covariance = self._products / self.count - np.outer(mean, mean)
        projection = np.zeros((self.width, sum(part.dimensions for part in self._parts)))
        row = column = 0
        for part in self._parts:
            own = slice(row, row + part.width)
            variances, vectors = np.linalg.eigh(covariance[own, own])
            components = vectors[:, ::-1][:, : part.dimensions]
            # Of the two opposite directions the one whose largest entry is positive.
            largest = np.abs(components).argmax(axis=0)
            components = components * np.sign(components[largest, np.arange(components.shape[1])])
            scale = np.sqrt(part.weight / variances[-part.dimensions :].sum())
            projection[own, column : column + part.dimensions] = components * scale
            row, column = row + part.width, column + part.dimensions
        return mean.astype(np.float32), projection.astype(np.float32)

    def batches(self, generator: np.random.Generator) -> Iterator[Vectors]:
        """What is kept, in mini-batches, shuffled by blocks of neighbours."""
        order = generator.permutation(min(self._blocks, len(self._kept)))
        for first in range(0, len(order), BATCH // BLOCK):
            blocks = self._kept[order[first : first + BATCH // BLOCK]]
            yield blocks.reshape(-1, self.width).astype(np.float32)


def codebook(
    name: str,
    frames: KeptFrames,
    size: int,
    epochs: int,
    seed: int,
    progress: Progress = lambda _: None,
) -> Codebook:
    """A codebook of `size` entries for frames. Raises SetupError where they are too few."""
    if frames.count < size + BLOCK:
        raise SetupError(
            f"too little speech for {size} {name} codes: it holds {frames.count} frames, "
            f"and {40 * size} or more are advisable"
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


def _use(codebook: Codebook, frames: KeptFrames) -> Use:
    counts = np.zeros(codebook.size, np.int64)
    for vectors in frames.batches(np.random.default_rng()):
        for rows in np.array_split(vectors, 8):
            counts += np.bincount(codebook.nearest(rows), minlength=codebook.size)
    return use_of(counts)
