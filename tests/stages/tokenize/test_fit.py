"""Fitting codebooks: reproducible, with every entry used, from a bounded sample of frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.models import resolve
from schemas.errors import SetupError
from stages.stage import Samples
from stages.tokenize.fit import BLOCK, FeatureGroup, FitConfig, FitResult, FrameReservoir, fit, use_of
from stages.tokenize.kmeans import k_means
from stages.tokenize.tokenizer import peak_normalised
from stages.tokenize.whisper import WhisperEncoder, WhisperTokenizer
from stages.tokenize.windows import windows
from tests.paths import RECORDINGS

CONFIG = FitConfig(
    linguistic_size=16,
    semantic_size=48,
    linguistic_dimensions=32,
    state_dimensions=24,
    spectrum_dimensions=8,
    epochs=4,
)


@pytest.fixture(scope="module")
def encoder() -> WhisperEncoder:
    return WhisperEncoder(resolve("package:whisper-tiny-en").path)


@pytest.fixture(scope="module")
def utterances() -> list[Samples]:
    files = ["conversations/ami_trn05", "monologues/1688-142285-0003", "monologues/1998-15444-0004"]
    return [soundfile.read(RECORDINGS / "demo" / f"{file}.flac", dtype="float32")[0] for file in files]


@pytest.fixture(scope="module")
def fitted(
    encoder: WhisperEncoder, utterances: list[Samples], tmp_path_factory: pytest.TempPathFactory
) -> FitResult:
    return fit(iter(utterances), encoder, CONFIG, tmp_path_factory.mktemp("fit"))


def test_codebooks_have_the_requested_sizes_and_the_width_of_the_frames(fitted: FitResult):
    books = fitted.codebooks
    for book, size, width, dimensions in (
        (books.linguistic, 16, 384, 32),
        (books.semantic, 48, 384 + 80 + 2, 24 + 8 + 2),
    ):
        assert book.mean.shape == (width,)
        assert book.projection.shape == (width, dimensions)
        assert book.centroids.shape == (size, dimensions)
        assert book.centroids.dtype == np.float16


def test_the_variance_of_each_kind_of_feature_is_its_weight(
    fitted: FitResult, encoder: WhisperEncoder, utterances: list[Samples]
):
    frames = encoder.frames([part for u in utterances for part in windows(peak_normalised(u))])
    vectors = np.concatenate([f.semantic for f in frames])
    book, weights = fitted.codebooks.semantic, CONFIG.weights
    projected = (vectors - book.mean) @ book.projection.astype(np.float64)
    of_parts = np.split(projected.var(axis=0), [24, 32])
    assert np.allclose(
        [part.sum() for part in of_parts], [weights.words, weights.spectrum, weights.pitch], rtol=0.01
    )


def test_a_reservoir_keeps_a_uniform_sample_of_bounded_size(tmp_path: Path):
    kept = FrameReservoir(tmp_path / "frames", (FeatureGroup(2, 2, 1.0),), size=40 * BLOCK, seed=0)
    for start in range(0, 100_000, 1_000):
        positions = np.arange(start, start + 1_000) / 50
        kept.add(np.stack([positions, np.ones(1_000)], axis=1).astype(np.float32))
    [sample] = kept.batches(np.random.default_rng(0))
    assert sample.shape == (40 * BLOCK, 2)
    assert kept.count == 100_000
    assert 800 < sample[:, 0].mean() < 1_200
    assert sample[:, 0].max() > 1_800


def test_the_reported_use_is_that_of_the_fitted_speech(
    fitted: FitResult, encoder: WhisperEncoder, utterances: list[Samples]
):
    codes = WhisperTokenizer(encoder, fitted.codebooks).encode(utterances)
    counts = np.bincount(np.concatenate([c.semantic for c in codes]), minlength=48)
    assert counts.sum() - BLOCK < fitted.semantic.codes <= counts.sum()
    # Stored in half precision, a few frames are assigned to another centroid.
    assert fitted.semantic.perplexity == pytest.approx(use_of(counts).perplexity, rel=0.05)
    assert fitted.semantic.share > 0.9


def test_codebooks_depend_only_on_the_seed(
    fitted: FitResult, encoder: WhisperEncoder, utterances: list[Samples], tmp_path: Path
):
    again = fit(utterances, encoder, CONFIG, tmp_path).codebooks
    assert np.array_equal(again.semantic.centroids, fitted.codebooks.semantic.centroids)
    assert np.array_equal(again.linguistic.centroids, fitted.codebooks.linguistic.centroids)
    config = replace(CONFIG, seed=1)
    other = fit(utterances, encoder, config, tmp_path).codebooks
    assert not np.array_equal(other.semantic.centroids, fitted.codebooks.semantic.centroids)


def test_no_files_are_left_behind(encoder: WhisperEncoder, utterances: list[Samples], tmp_path: Path):
    fit(utterances, encoder, CONFIG, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_little_speech_is_refused(encoder: WhisperEncoder, utterances: list[Samples], tmp_path: Path):
    with pytest.raises(SetupError, match=r"too little speech for 1024 linguistic codes: it has \d+ frames"):
        fit(utterances[1:], encoder, FitConfig(), tmp_path)


def test_k_means_finds_separate_clusters_of_unequal_sizes():
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 10, (12, 5))
    sizes = [2000, *[40] * 11]
    points = np.concatenate(
        [c + generator.normal(0, 0.1, (n, 5)) for c, n in zip(centres, sizes, strict=True)]
    )
    points = generator.permutation(points).astype(np.float32)
    centroids = k_means(lambda: iter(np.array_split(points, 5)), 12, 6, np.random.default_rng(1))
    nearest = np.linalg.norm(centres[:, None] - centroids[None], axis=-1).min(axis=1)
    assert nearest.max() < 0.2


def test_use_of_evenly_and_unevenly_used_codebooks():
    even = use_of(np.full(64, 7))
    assert (even.codes, even.share) == (448, 1.0)
    assert even.perplexity == pytest.approx(64)
    uneven = use_of(np.array([100, 0, 0, 0]))
    assert (uneven.share, uneven.perplexity) == (0.25, pytest.approx(1))
