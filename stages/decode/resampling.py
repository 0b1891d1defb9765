"""Sample rate conversion of audio that arrives in blocks."""

import numpy as np
import soxr

from stages.stage import SAMPLE_RATE, Samples


class Resampler:
    """Resamples blocks [n, tracks] to a rate in Hz; audio that is at that rate already is passed through."""

    def __init__(self, rate: int, tracks: int, to_rate: int = SAMPLE_RATE) -> None:
        same = rate == to_rate
        self._stream = None if same else soxr.ResampleStream(rate, to_rate, tracks, dtype="float32")
        self._empty = np.zeros((0, tracks), np.float32)

    def add(self, block: Samples) -> Samples:
        """The output samples that become available with a block."""
        return self._stream.resample_chunk(np.ascontiguousarray(block)) if self._stream else block

    def end(self) -> Samples:
        """The remaining output samples."""
        return self._stream.resample_chunk(self._empty, last=True) if self._stream else self._empty
