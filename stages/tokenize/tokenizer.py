"""Interface of speech tokenizers, which convert utterances to the codes of two codebooks."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from schemas.recording import Codes
from stages.stage import Samples


class Tokenizer(Protocol):
    """Converts utterances to codes. The codes of an utterance don't depend on the rest of the batch."""

    linguistic_size: int
    """Linguistic codes are 0..linguistic_size - 1, at 16.67 per second."""
    semantic_size: int
    """Semantic codes are 0..semantic_size - 1, at 25 per second."""
    semantic_factors: tuple[int, ...]
    """Sizes of the factors whose product they are, the one that changes fastest first; empty if there are
    none."""

    def encode(self, batch: Sequence[Samples]) -> list[Codes]:
        """Codes of each utterance (float32 [n] at 16 kHz), in order."""

    def counts(self, samples: int) -> tuple[int, int]:
        """Number of linguistic and of semantic codes of an utterance with this number of samples."""

    def stream(self, gain: float) -> "CodeStream":
        """A stream for one utterance whose samples are multiplied by `gain`.

        `encode` scales by the peak of the whole utterance, which a stream can't know.
        """


class CodeStream(Protocol):
    """Encodes an utterance piece by piece. All codes together are those of the whole utterance."""

    def feed(self, samples: Samples) -> Codes:
        """Add samples (float32 [n] at 16 kHz, any n) and return the codes that are final now."""

    def finish(self) -> Codes:
        """The remaining codes. Nothing can be fed afterwards."""


def peak_normalised(samples: Samples) -> Samples:
    """An utterance [n] scaled to nearly full scale, by at most 40 dB.

    As in the Step-Audio tokenizer: x / max(max|x|, 0.01) * 0.999.
    """
    peak = max(float(np.abs(samples).max(initial=0.0)), 0.01)
    return (samples / np.float32(peak) * np.float32(0.999)).astype(np.float32, copy=False)
