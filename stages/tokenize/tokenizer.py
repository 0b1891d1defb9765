"""What a speech tokenizer is: utterances in, the codes of two codebooks out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from schemas.recording import Codes
from stages.stage import Samples


class Tokenizer(Protocol):
    """Turns utterances into codes; an utterance's codes never depend on its neighbours in the batch."""

    linguistic_size: int
    """Linguistic codes are 0..linguistic_size - 1, 16.67 a second."""
    semantic_size: int
    """Semantic codes are 0..semantic_size - 1, 25 a second."""

    def encode(self, batch: Sequence[Samples]) -> list[Codes]:
        """Codes of each utterance (float32 [n] at 16 kHz), in the batch's order."""

    def counts(self, samples: int) -> tuple[int, int]:
        """How many linguistic and semantic codes an utterance of so many samples gets."""

    def stream(self, gain: float) -> "Stream":
        """An utterance that comes piece by piece, each sample multiplied by `gain`.

        `encode` scales by the whole utterance's peak, which a stream can't know.
        """


class Stream(Protocol):
    """Codes as they become known; all of them together are those of the whole utterance so scaled."""

    def feed(self, samples: Samples) -> Codes:
        """The codes that so many more samples (float32 [n] at 16 kHz, any n) make final."""

    def finish(self) -> Codes:
        """The codes of what is left. Nothing can be fed afterwards."""


def peak_normalised(samples: Samples) -> Samples:
    """An utterance at nearly full scale, or raised by 40 dB where its peak is lower still.

    As in the Step-Audio tokenizer: x / max(max|x|, 0.01) * 0.999.
    """
    peak = max(float(np.abs(samples).max(initial=0.0)), 0.01)
    return (samples / np.float32(peak) * np.float32(0.999)).astype(np.float32, copy=False)
