"""The tokenizer of fitted codebooks: nearest centroids to a Whisper model's states and to acoustics.

A linguistic code represents 960 samples (60 ms) by the mean of three states. A semantic code represents 640
samples (40 ms) by the mean of two states, the log-mel spectrum and the pitch. n samples always give n // 960
linguistic and n // 640 semantic codes, so that a group of two linguistic and three semantic codes represents
1,920 samples (120 ms).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.arrow import Code
from schemas.errors import SetupError
from schemas.recording import Codes
from stages.blas import use_one_thread
from stages.gpu import DeviceName, ctranslate2_finds_gpu, device_of
from stages.stage import Samples
from stages.tokenize.acoustics import PITCH, acoustics
from stages.tokenize.codebooks import Codebook, Codebooks, Vectors
from stages.tokenize.whisper_weights import weights_sha256
from stages.tokenize.windows import (
    GPU_ROWS,
    LINGUISTIC_STATES,
    SEMANTIC_STATES,
    STATE,
    WindowTokenizer,
    padded_length,
)


@dataclass(frozen=True)
class Frames:
    """Feature vectors of a window of n samples."""

    linguistic: Vectors
    """[n // 960, width of the model]"""
    semantic: Vectors
    """[n // 640, width of the model + bands of its log-mel spectrum + 2 for pitch]"""


class WhisperEncoder:
    """Frames from a Whisper model in CTranslate2 format.

    They don't depend on the number of threads or on other windows. Raises SetupError if the model can't be
    loaded.
    """

    def __init__(self, directory: Path, threads: int = 1, device: DeviceName = "auto") -> None:
        import ctranslate2
        from faster_whisper.feature_extractor import FeatureExtractor

        self.sha256 = weights_sha256(directory)
        gpu = device_of(device).type == "cuda" and ctranslate2_finds_gpu()
        try:
            self._model = ctranslate2.models.Whisper(
                str(directory),
                device="cuda" if gpu else "cpu",
                compute_type="float32",
                # A single thread per utterance: sums split over threads would round differently.
                intra_threads=1,
                inter_threads=threads,
            )
        except (RuntimeError, ValueError) as error:
            raise SetupError(f"{directory} can't be loaded as a Whisper model: {error}") from error
        # On a CPU, a batch is no faster than one row after another.
        self._rows = GPU_ROWS if gpu else 1
        use_one_thread()
        self._mel = FeatureExtractor(feature_size=self._model.n_mels)
        self.bands = self._model.n_mels
        [silence] = self.frames([np.zeros(LINGUISTIC_STATES * STATE, np.float32)])
        self.width = silence.linguistic.shape[1]

    def frames(self, windows: Sequence[Samples]) -> Iterator[Frames]:
        """Frames of windows of at most 30 s each, in their order."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for index, window in enumerate(windows):
            by_length[padded_length(len(window))].append(index)
        frames: dict[int, Frames] = {}
        for length, members in by_length.items():
            for first in range(0, len(members), self._rows):
                rows = members[first : first + self._rows]
                frames |= zip(rows, self._encoded([windows[i] for i in rows], length), strict=True)
        return (frames[index] for index in range(len(windows)))

    def _encoded(self, windows: Sequence[Samples], length: int) -> Iterator[Frames]:
        """Frames of windows that are padded to `length` samples."""
        import ctranslate2

        mels = [self._mel(window, padding=length - len(window)) for window in windows]
        rows = np.stack([*mels, *[mels[0]] * (self._rows - len(mels))], dtype=np.float32)
        states = np.array(self._model.encode(ctranslate2.StorageView.from_array(rows), to_cpu=True))
        for window, mel, row in zip(windows, mels, states, strict=False):
            own = row[: len(window) // STATE]
            semantic = averaged(own, SEMANTIC_STATES)
            yield Frames(
                averaged(own, LINGUISTIC_STATES),
                np.concatenate([semantic, acoustics(window, mel)], axis=1, dtype=np.float32),
            )


class WhisperTokenizer(WindowTokenizer):
    """`Tokenizer` with a Whisper encoder and codebooks. Raises SetupError if these don't match."""

    def __init__(self, encoder: WhisperEncoder, codebooks: Codebooks) -> None:
        if codebooks.model_sha256 != encoder.sha256:
            raise SetupError(
                f"the codebooks were fitted to another model, with the hash {codebooks.model_sha256[:12]}; "
                f"this one has {encoder.sha256[:12]}. Fit codebooks to it with: aqaa-data codebooks fit"
            )
        widths = codebooks.linguistic.width, codebooks.semantic.width
        expected = encoder.width, encoder.width + encoder.bands + PITCH
        if widths != expected:
            raise SetupError(
                f"the codebooks expect frames of width {widths[0]} and {widths[1]}, but those of the model "
                f"have width {expected[0]} and {expected[1]}"
            )
        self._encoder = encoder
        self._codebooks = codebooks
        self.linguistic_size = codebooks.linguistic.size
        self.semantic_size = codebooks.semantic.size
        self.semantic_factors: tuple[int, ...] = ()

    def window_codes(self, windows: Sequence[Samples]) -> Iterator[Codes]:
        """Codes of windows of at most 30 s each, without normalization of their level."""
        for frames in self._encoder.frames(windows):
            yield Codes(
                _nearest(self._codebooks.linguistic, frames.linguistic),
                _nearest(self._codebooks.semantic, frames.semantic),
            )


def averaged(states: Vectors, size: int) -> Vectors:
    """Means of `size` consecutive states, [n, width] -> [n // size, width]; a shorter rest is dropped."""
    whole = len(states) // size * size
    means: Vectors = states[:whole].reshape(-1, size, states.shape[1]).mean(axis=1)
    return means


def _nearest(codebook: Codebook, vectors: Vectors) -> tuple[Code, ...]:
    return tuple(Code(int(code)) for code in codebook.nearest(vectors))
