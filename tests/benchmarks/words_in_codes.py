"""What codes keep: words that a reader finds in them, melody, and steadiness under noise.

    python tests/benchmarks/words_in_codes.py ROWS.jsonl --codes FOLDER [--kmeans FOLDER]

ROWS.jsonl has a line {"path", "text", "language"} for each recording of at most 30 s. The words of trained
codes are read by Whisper's own decoder from the states that the reader makes of codes: of both codebooks,
and of each alone. Those of k-means codebooks are read from their centroids, projected back to states, which
is less than they hold. The table has word error rates (character error rates in Chinese), the correlation of
log F0 (the tracker of the quality stage) with the level of pitch in semantic codes, and the share of codes
that stay the same under white noise at 20 dB.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import opencc
import soundfile
import soxr
import torch
from whisper_normalizer.english import EnglishTextNormalizer

from pipeline.models import resolve
from schemas.recording import Codes
from stages.quality import QualityConfig
from stages.quality.pitch import PitchTracker
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.codebooks import Codebook, Codebooks
from stages.tokenize.tokenizer import Tokenizer, peak_normalised
from stages.tokenize.trained.changes import mixed
from stages.tokenize.trained.checkpoint import load
from stages.tokenize.trained.reading import CodeReader
from stages.tokenize.trained.tokenizer import SemanticFactors, TrainedTokenizer
from stages.tokenize.trained.transcribing import WhisperText
from stages.tokenize.whisper import WhisperEncoder, WhisperTokenizer
from stages.tokenize.whisper_weights import read_whisper, weights_sha256
from stages.tokenize.windows import LINGUISTIC_STATES, SEMANTIC_STATES, WINDOW

NOISE_DB = 20.0


@dataclass
class Result:
    """Texts by what they were read from, per language, and measures of codes."""

    texts: dict[str, dict[str, list[tuple[str, str]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    same: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    melody: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--codes", type=Path, required=True)
    parser.add_argument("--kmeans", type=Path)
    parser.add_argument("--model", default="package:whisper-base")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    directory = resolve(arguments.model).path
    weights, sha256 = read_whisper(directory), weights_sha256(directory)
    codes = load(arguments.codes, reader=True)
    tokenizer = TrainedTokenizer(weights, sha256, codes)
    reader, whisper = CodeReader(directory, weights, codes), WhisperText(directory)
    clusters = _clusters(directory, arguments.kmeans) if arguments.kmeans else None
    pitch = PitchTracker(resolve(QualityConfig().pitch).path)
    result = Result()
    for row, samples in recordings(arguments.rows):
        language = row["language"]
        texts = result.texts[language]
        reference = normalised(row["text"], language)

        def add(
            name: str, text: str, texts: Any = texts, reference: str = reference, to: str = language
        ) -> None:
            texts[name].append((reference, normalised(text, to)))

        silent = np.pad(samples, (0, WINDOW - len(samples)))
        seconds = len(samples) / SAMPLE_RATE
        add("original", whisper.text(whisper.states(silent), seconds, language))
        [own] = tokenizer.encode([samples])
        add("both codebooks", reader.text(own, language))
        add("linguistic alone", reader.text(own, language, (True, False)))
        add("semantic alone", reader.text(own, language, (False, True)))
        noisy = disturbed(samples)
        _compare(result, "trained", tokenizer, samples, noisy)
        if clusters:
            kmeans, books = clusters
            _compare(result, "k-means", kmeans, samples, noisy)
            for name, states in centroid_states(kmeans, books, samples):
                add(f"k-means, {name}", whisper.text(_view(states), seconds, language))
        if (correlation := melody(pitch, samples, own)) is not None:
            result.melody.append(correlation)
    _print(result)


def recordings(rows: Path) -> Iterator[tuple[dict[str, Any], Samples]]:
    """Rows and their samples at 16 kHz, scaled to their peak."""
    for line in rows.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        samples, rate = soundfile.read(row["path"], dtype="float32", always_2d=True)
        yield row, peak_normalised(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE))


def disturbed(samples: Samples) -> Samples:
    noise = np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)
    return mixed(samples, noise, NOISE_DB)


def normalised(text: str, language: str) -> str:
    """Words in English; in Chinese simplified characters, each as a word."""
    if language == "en":
        return str(EnglishTextNormalizer()(text))
    return " ".join(re.findall(r"\w", opencc.OpenCC("t2s").convert(text)))


def melody(pitch: PitchTracker, samples: Samples, codes: Codes) -> float | None:
    """Correlation of log F0 with the level of pitch, in frames of 40 ms that are voiced in both."""
    hz = pitch.hz(samples)
    levels = SemanticFactors.of(np.array(codes.semantic)).pitch
    at = ((np.arange(len(levels)) + 0.5) * len(hz) / len(levels)).astype(int)
    both = (levels > 0) & (hz[at] > 0)
    if both.sum() < 10 or np.ptp(levels[both]) == 0:
        return None
    return float(np.corrcoef(np.log(hz[at][both]), levels[both])[0, 1])


def _compare(result: Result, name: str, tokenizer: Tokenizer, samples: Samples, noisy: Samples) -> None:
    own, other = tokenizer.encode([samples, noisy])
    for kind in ("linguistic", "semantic"):
        a, b = np.array(getattr(own, kind)), np.array(getattr(other, kind))
        result.same[f"{name}, {kind}"].append((int((a == b).sum()), len(a)))


def _clusters(directory: Path, folder: Path) -> tuple[WhisperTokenizer, Codebooks]:
    books = Codebooks.load(folder)
    return WhisperTokenizer(WhisperEncoder(directory), books), books


def centroid_states(
    tokenizer: WhisperTokenizer, books: Codebooks, samples: Samples
) -> Iterator[tuple[str, np.ndarray]]:
    """States [1, n, width] of the centroids of either codebook."""
    [codes] = tokenizer.encode([samples])
    width = books.linguistic.width
    for name, book, rate in (
        ("linguistic", books.linguistic, LINGUISTIC_STATES),
        ("semantic", books.semantic, SEMANTIC_STATES),
    ):
        vectors = back_projected(book)[list(getattr(codes, name)), :width]
        yield name, np.repeat(vectors, rate, axis=0)[None].astype(np.float32)


def back_projected(book: Codebook) -> np.ndarray:
    """Centroids [size, width] in the space of frames."""
    projection = book.projection.astype(np.float64)
    return book.centroids.astype(np.float64) @ np.linalg.pinv(projection) + book.mean.astype(np.float64)


def _view(states: np.ndarray) -> Any:
    import ctranslate2

    return ctranslate2.StorageView.from_array(np.ascontiguousarray(states))


def _print(result: Result) -> None:
    for language, texts in sorted(result.texts.items()):
        unit = "words" if language == "en" else "characters"
        print(f"\n| wrong {unit}, {language} | {len(texts['original'])} recordings |\n| --- | --- |")
        for name, pairs in texts.items():
            print(f"| {name} | {jiwer.wer(*map(list, zip(*pairs, strict=True))):.1%} |")
    print("\n| unchanged at 20 dB | share |\n| --- | --- |")
    for name, counts in result.same.items():
        same, total = map(sum, zip(*counts, strict=True))
        print(f"| {name} | {same / total:.1%} |")
    print(f"\nMelody: correlation {np.mean(result.melody):.2f} over {len(result.melody)} recordings")


if __name__ == "__main__":
    main()
