"""Utterances in windows of at most 30 s, which is the most that a Whisper encoder takes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from schemas.recording import Codes
from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.tokenizer import peak_normalised

STATE = 320
"""Samples per encoder state (20 ms)."""
LINGUISTIC_STATES = 3
SEMANTIC_STATES = 2
"""States per code."""

WINDOW = 30 * SAMPLE_RATE
"""Maximum input of the encoder in samples, a multiple of both kinds of code. Longer utterances are cut."""
SILENCE = SAMPLE_RATE // 4
"""Minimum padding after an utterance in samples. It makes the last states more like those of the 30 s that
the encoder was trained on."""
GRID = SAMPLE_RATE // 2
"""Windows are padded with silence to multiples of this number of samples. Those of equal length are encoded
together, and the output depends only on a window's own length."""
GPU_ROWS = 16
"""Windows per batch on a GPU, always: kernels, and with them the rounding, are chosen by shape."""


def windows(samples: Samples) -> list[Samples]:
    """An utterance [n] in windows of 30 s; a rest too short for a single state is dropped."""
    return [samples[start : start + WINDOW] for start in range(0, len(samples) - STATE + 1, WINDOW)]


def padded_length(samples: int) -> int:
    """Length in samples to which a window is padded with silence."""
    return min(-(-(samples + SILENCE) // GRID) * GRID, WINDOW)


def joined(parts: Iterable[Codes]) -> Codes:
    """The concatenation of codes."""
    parts = list(parts)
    return Codes(
        tuple(code for part in parts for code in part.linguistic),
        tuple(code for part in parts for code in part.semantic),
    )


def counts(samples: int) -> tuple[int, int]:
    """Number of linguistic and of semantic codes of an utterance with this number of samples."""
    return samples // (STATE * LINGUISTIC_STATES), samples // (STATE * SEMANTIC_STATES)


WindowCodes = Callable[[Sequence[Samples]], Iterator[Codes]]
"""Codes of windows of at most 30 s each, without normalization of their level."""


class WindowStream:
    """`CodeStream` of a tokenizer that encodes windows.

    Codes are returned every 30 s and at the end, since the encoder needs a whole window.
    """

    def __init__(self, window_codes: WindowCodes, gain: float) -> None:
        self._window_codes = window_codes
        self._gain = np.float32(gain)
        self._pieces: list[Samples] = []
        self._waiting = 0
        """Number of samples in the pieces."""

    def feed(self, samples: Samples) -> Codes:
        """The codes of the windows that are complete now."""
        self._pieces.append(samples * self._gain)
        self._waiting += len(samples)
        if self._waiting < WINDOW:
            return Codes((), ())
        fed = np.concatenate(self._pieces)
        complete = len(fed) // WINDOW * WINDOW
        self._pieces = [fed[complete:]]
        self._waiting = len(fed) - complete
        return self._encode(fed[:complete])

    def finish(self) -> Codes:
        """The codes of the remaining samples."""
        return self._encode(np.concatenate([np.zeros(0, np.float32), *self._pieces]))

    def _encode(self, samples: Samples) -> Codes:
        return joined(self._window_codes(windows(samples)))


class WindowTokenizer(ABC):
    """The part of a `Tokenizer` that is the same for all that encode windows."""

    @abstractmethod
    def window_codes(self, windows: Sequence[Samples]) -> Iterator[Codes]:
        """Codes of windows of at most 30 s each, without normalization of their level."""

    def encode(self, batch: Sequence[Samples]) -> list[Codes]:
        """Codes of each utterance (float32 [n] at 16 kHz), in order."""
        cut = [windows(peak_normalised(samples)) for samples in batch]
        codes = self.window_codes([window for parts in cut for window in parts])
        return [joined(islice(codes, len(parts))) for parts in cut]

    def counts(self, samples: int) -> tuple[int, int]:
        """Number of linguistic and of semantic codes of an utterance with this number of samples."""
        return counts(samples)

    def stream(self, gain: float) -> WindowStream:
        """A stream for one utterance whose samples are multiplied by `gain`."""
        return WindowStream(self.window_codes, gain)
