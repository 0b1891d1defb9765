"""The embedded tokenizer: encoder states of a Whisper model, averaged to two rates, nearest centroid.

Linguistic codes stand for 960 samples (60 ms: three states), semantic ones for 640 (40 ms: two states).
n samples give n // 960 linguistic and n // 640 semantic codes, whatever their number, so that one group of
two linguistic and three semantic codes stands for 1,920 samples (120 ms).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.arrow import Code
from schemas.errors import SetupError
from schemas.recording import Codes
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.codebooks import Codebook, Codebooks, States
from stages.tokenize.tokenizer import peak_normalised

STATE = 320
"""Samples an encoder state stands for (20 ms)."""
LINGUISTIC_STATES = 3
SEMANTIC_STATES = 2

WINDOW = 30 * SAMPLE_RATE
"""The encoder's longest input. Longer utterances are cut here: a whole number of both kinds of code."""
SILENCE = SAMPLE_RATE // 2
"""Put behind an utterance. States at its end then differ less from those of the 30 s that the encoder was
trained on: cosine similarity over the last half second 0.85, without it 0.78, for 5 % more work at 7 s."""


class WhisperEncoder:
    """Encoder states of a Whisper model in CTranslate2's format, the same for any number of threads."""

    def __init__(self, directory: Path, threads: int = 1) -> None:
        import ctranslate2
        from faster_whisper.feature_extractor import FeatureExtractor

        weights = directory / "model.bin"
        if not weights.is_file():
            raise SetupError(f"{directory} holds no model.bin: name a Whisper model in CTranslate2's format")
        try:
            self._model = ctranslate2.models.Whisper(
                str(directory),
                device="cpu",
                compute_type="float32",
                # One thread an utterance: sums split over threads would round differently.
                intra_threads=1,
                inter_threads=threads,
            )
        except (RuntimeError, ValueError) as error:
            raise SetupError(f"{weights} can't be loaded as a Whisper model: {error}") from error
        self._mel = FeatureExtractor(feature_size=self._model.n_mels)
        self.sha256 = _sha256(weights)
        self.width = next(self.states(np.zeros(STATE, np.float32))).shape[1]

    def states(self, samples: Samples) -> Iterator[States]:
        """The states of an utterance [n], window by window: float32 [n // 320, width]."""
        import ctranslate2

        for window in windows(samples):
            mel = self._mel(window, padding=min(SILENCE, WINDOW - len(window)))
            features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None], dtype=np.float32))
            yield np.array(self._model.encode(features, to_cpu=True), dtype=np.float32)[
                0, : len(window) // STATE
            ]


class WhisperTokenizer:
    """`Tokenizer` over a Whisper encoder and the codebooks fitted to it.

    Utterances go through the encoder one at a time, each at its own length: on CPU a batch of eight saves
    5 % (padding to a common length would cost more), and so no code can depend on a neighbour.
    """

    def __init__(self, encoder: WhisperEncoder, codebooks: Codebooks) -> None:
        if codebooks.model_sha256 != encoder.sha256:
            raise SetupError(
                f"the codebooks were fitted to another model: they name {codebooks.model_sha256[:12]}, "
                f"the model's hash is {encoder.sha256[:12]}; fit some to it with: aqaa-data codebooks fit"
            )
        if codebooks.width != encoder.width:
            raise SetupError(
                f"the codebooks expect states of width {codebooks.width}, the model's have {encoder.width}"
            )
        self._encoder = encoder
        self._codebooks = codebooks
        self.linguistic_size = codebooks.linguistic.size
        self.semantic_size = codebooks.semantic.size

    def encode(self, batch: Sequence[Samples]) -> list[Codes]:
        """Codes of each utterance (float32 [n] at 16 kHz), in the batch's order."""
        return [self._codes(samples) for samples in batch]

    def counts(self, samples: int) -> tuple[int, int]:
        """How many linguistic and semantic codes an utterance of so many samples gets."""
        return samples // (STATE * LINGUISTIC_STATES), samples // (STATE * SEMANTIC_STATES)

    def stream(self, gain: float) -> "WhisperStream":
        """An utterance that comes piece by piece, each sample multiplied by `gain`."""
        return WhisperStream(self, gain)

    def _codes(self, samples: Samples) -> Codes:
        return joined(self.window_codes(window) for window in windows(peak_normalised(samples)))

    def window_codes(self, window: Samples) -> Codes:
        """Codes of at most 30 s as they are, without any change of level."""
        [states] = self._encoder.states(window)
        return Codes(
            _nearest(self._codebooks.linguistic, states, LINGUISTIC_STATES),
            _nearest(self._codebooks.semantic, states, SEMANTIC_STATES),
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
        return joined(self._tokenizer.window_codes(window) for window in windows(samples))


def windows(samples: Samples) -> Iterator[Samples]:
    """An utterance cut every 30 s; a rest too short for a single state is dropped."""
    for start in range(0, len(samples) - STATE + 1, WINDOW):
        yield samples[start : start + WINDOW]


def joined(parts: Iterable[Codes]) -> Codes:
    """Codes one behind another."""
    parts = list(parts)
    return Codes(
        tuple(code for part in parts for code in part.linguistic),
        tuple(code for part in parts for code in part.semantic),
    )


def averaged(states: States, size: int) -> States:
    """Means of `size` states in a row, [n, width] -> [n // size, width]; a shorter rest is dropped."""
    whole = len(states) // size * size
    means: States = states[:whole].reshape(-1, size, states.shape[1]).mean(axis=1)
    return means


def _nearest(codebook: Codebook, states: States, size: int) -> tuple[Code, ...]:
    codes: NDArray[np.intp] = codebook.nearest(averaged(states, size))
    return tuple(Code(int(code)) for code in codes)


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
