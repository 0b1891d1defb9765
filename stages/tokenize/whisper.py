"""The embedded tokenizer: encoder states of a Whisper model and what is heard beside them, nearest centroid.

Linguistic codes stand for 960 samples (60 ms: the mean of three states), semantic ones for 640 (40 ms: the
mean of two states, the log-mel spectrum and the pitch). n samples give n // 960 linguistic and n // 640
semantic codes, whatever their number, so that one group of two linguistic and three semantic codes stands for
1,920 samples (120 ms).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from schemas.arrow import Code
from schemas.errors import SetupError
from schemas.recording import Codes
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.acoustics import PITCH, acoustics
from stages.tokenize.codebooks import Codebook, Codebooks, Vectors
from stages.tokenize.tokenizer import peak_normalised

STATE = 320
"""Samples an encoder state stands for (20 ms)."""
LINGUISTIC_STATES = 3
SEMANTIC_STATES = 2

WINDOW = 30 * SAMPLE_RATE
"""The encoder's longest input. Longer utterances are cut here: a whole number of both kinds of code."""
SILENCE = SAMPLE_RATE // 4
"""At least so much is put behind an utterance. States at its end then differ less from those of the 30 s that
the encoder was trained on."""
GRID = SAMPLE_RATE // 2
"""Windows are filled with silence to multiples of this: those of one length go through the encoder together,
and what comes out depends on a window's own length alone."""
GPU_ROWS = 16
"""Windows that go through a GPU at once, always: kernels are chosen by shape, and with them the rounding."""


@dataclass(frozen=True)
class Frames:
    """Vectors of a window of n samples."""

    linguistic: Vectors
    """[n // 960, width of the model]"""
    semantic: Vectors
    """[n // 640, width of the model + bands of its log-mel spectrum + 2 for pitch]"""


class WhisperEncoder:
    """Frames from a Whisper model in CTranslate2's format, on a GPU where there is one.

    They are the same for any number of threads and any neighbours.
    """

    def __init__(self, directory: Path, threads: int = 1) -> None:
        import ctranslate2
        from faster_whisper.feature_extractor import FeatureExtractor

        weights = directory / "model.bin"
        if not weights.is_file():
            raise SetupError(f"{directory} holds no model.bin: name a Whisper model in CTranslate2's format")
        gpu = ctranslate2.get_cuda_device_count() > 0
        try:
            self._model = ctranslate2.models.Whisper(
                str(directory),
                device="cuda" if gpu else "cpu",
                compute_type="float32",
                # One thread an utterance: sums split over threads would round differently.
                intra_threads=1,
                inter_threads=threads,
            )
        except (RuntimeError, ValueError) as error:
            raise SetupError(f"{weights} can't be loaded as a Whisper model: {error}") from error
        # On CPU several rows at once are no faster than one after another.
        self._rows = GPU_ROWS if gpu else 1
        self._mel = FeatureExtractor(feature_size=self._model.n_mels)
        self.sha256 = _sha256(weights)
        self.bands = self._model.n_mels
        [silence] = self.frames([np.zeros(LINGUISTIC_STATES * STATE, np.float32)])
        self.width = silence.linguistic.shape[1]

    def frames(self, windows: Sequence[Samples]) -> Iterator[Frames]:
        """Frames of windows of at most 30 s each, in their order."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for index, window in enumerate(windows):
            by_length[_filled(len(window))].append(index)
        found: dict[int, Frames] = {}
        for length, members in by_length.items():
            for first in range(0, len(members), self._rows):
                rows = members[first : first + self._rows]
                found |= zip(rows, self._encoded([windows[i] for i in rows], length), strict=True)
        return (found[index] for index in range(len(windows)))

    def _encoded(self, windows: Sequence[Samples], length: int) -> Iterator[Frames]:
        """Frames of windows that are filled to one length."""
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


class WhisperTokenizer:
    """`Tokenizer` over a Whisper encoder and the codebooks fitted to it."""

    def __init__(self, encoder: WhisperEncoder, codebooks: Codebooks) -> None:
        if codebooks.model_sha256 != encoder.sha256:
            raise SetupError(
                f"the codebooks were fitted to another model: they name {codebooks.model_sha256[:12]}, "
                f"the model's hash is {encoder.sha256[:12]}; fit some to it with: aqaa-data codebooks fit"
            )
        widths = codebooks.linguistic.width, codebooks.semantic.width
        expected = encoder.width, encoder.width + encoder.bands + PITCH
        if widths != expected:
            raise SetupError(
                f"the codebooks expect frames of width {widths[0]} and {widths[1]}, the model's have "
                f"{expected[0]} and {expected[1]}"
            )
        self._encoder = encoder
        self._codebooks = codebooks
        self.linguistic_size = codebooks.linguistic.size
        self.semantic_size = codebooks.semantic.size

    def encode(self, batch: Sequence[Samples]) -> list[Codes]:
        """Codes of each utterance (float32 [n] at 16 kHz), in the batch's order."""
        cut = [windows(peak_normalised(samples)) for samples in batch]
        codes = self.window_codes([window for parts in cut for window in parts])
        return [joined(islice(codes, len(parts))) for parts in cut]

    def counts(self, samples: int) -> tuple[int, int]:
        """How many linguistic and semantic codes an utterance of so many samples gets."""
        return samples // (STATE * LINGUISTIC_STATES), samples // (STATE * SEMANTIC_STATES)

    def stream(self, gain: float) -> "WhisperStream":
        """An utterance that comes piece by piece, each sample multiplied by `gain`."""
        return WhisperStream(self, gain)

    def window_codes(self, windows: Sequence[Samples]) -> Iterator[Codes]:
        """Codes of windows of at most 30 s as they are, without any change of level."""
        for frames in self._encoder.frames(windows):
            yield Codes(
                _nearest(self._codebooks.linguistic, frames.linguistic),
                _nearest(self._codebooks.semantic, frames.semantic),
            )


class WhisperStream:
    """`Stream` of a `WhisperTokenizer`: codes come with each 30 s and at the end, since the encoder sees all
    of a window at once."""

    def __init__(self, tokenizer: WhisperTokenizer, gain: float) -> None:
        self._tokenizer = tokenizer
        self._gain = np.float32(gain)
        self._waiting: Samples = np.zeros(0, np.float32)

    def feed(self, samples: Samples) -> Codes:
        """The codes of every window that is full now."""
        self._waiting = np.concatenate([self._waiting, samples * self._gain])
        full = len(self._waiting) // WINDOW * WINDOW
        codes = self._coded(self._waiting[:full])
        self._waiting = self._waiting[full:]
        return codes

    def finish(self) -> Codes:
        """The codes of what is left."""
        return self._coded(self._waiting)

    def _coded(self, samples: Samples) -> Codes:
        return joined(self._tokenizer.window_codes(windows(samples)))


def windows(samples: Samples) -> list[Samples]:
    """An utterance cut every 30 s; a rest too short for a single state is dropped."""
    return [samples[start : start + WINDOW] for start in range(0, len(samples) - STATE + 1, WINDOW)]


def _filled(samples: int) -> int:
    """To how many samples a window is filled with silence."""
    return min(-(-(samples + SILENCE) // GRID) * GRID, WINDOW)


def joined(parts: Iterable[Codes]) -> Codes:
    """Codes one behind another."""
    parts = list(parts)
    return Codes(
        tuple(code for part in parts for code in part.linguistic),
        tuple(code for part in parts for code in part.semantic),
    )


def averaged(states: Vectors, size: int) -> Vectors:
    """Means of `size` states in a row, [n, width] -> [n // size, width]; a shorter rest is dropped."""
    whole = len(states) // size * size
    means: Vectors = states[:whole].reshape(-1, size, states.shape[1]).mean(axis=1)
    return means


def _nearest(codebook: Codebook, vectors: Vectors) -> tuple[Code, ...]:
    return tuple(Code(int(code)) for code in codebook.nearest(vectors))


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
