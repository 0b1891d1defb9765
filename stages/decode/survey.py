"""Statistics of the channels of a recording, in memory that doesn't grow with its length."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.stage import Samples

FRAME_SECONDS = 0.03
LEAD_DB = 15.0
"""A channel leads a frame if it is louder than every other by this many dB, more than leakage or stereo
images cause."""

ACTIVE_DB = 30.0
"""A frame is active if its level is at most this many dB below the 99th percentile."""

_FLOOR_DB, _BINS = -120, 200
"""Lowest level of the histogram, and its number of bins of 1 dB."""
_CLIPPED = 0.98


@dataclass(frozen=True)
class ChannelActivity:
    """Which channels are heard in the active frames of a recording."""

    leads: NDArray[np.float64]
    """Share of the active frames that each channel leads, [channels]."""
    loudest: NDArray[np.float64]
    """Share of the active frames in which each channel is the loudest, [channels]."""


class Survey:
    """Statistics over blocks of samples [n, channels]."""

    def __init__(self, rate: int, channels: int) -> None:
        self.channels = channels
        self.samples = 0
        self.peak = np.zeros(channels)
        self.loudest_dbfs = -np.inf
        """Level (as standard deviation) of the loudest frame of any channel."""
        self._size = max(1, round(FRAME_SECONDS * rate))
        self._sum = np.zeros(channels)
        self._products = np.zeros((channels, channels))
        self._clipped = np.zeros(channels)
        self._frames = np.zeros((_BINS, channels, 2), np.int64)
        """Number of frames by level of the loudest channel (dB), by that channel, and by whether it leads."""
        self._rest = np.zeros((0, channels), np.float32)

    def add(self, block: Samples) -> None:
        """Include a block of samples [n, channels]."""
        self.samples += len(block)
        size = np.abs(block)
        self.peak = np.maximum(self.peak, size.max(axis=0, initial=0))
        self._clipped += (size >= _CLIPPED).sum(axis=0)
        exact = block.astype(np.float64)
        self._sum += exact.sum(axis=0)
        self._products += np.einsum("nc,nd->cd", exact, exact)
        block = np.concatenate([self._rest, block])
        whole = len(block) // self._size * self._size
        self._rest = block[whole:]
        if whole:
            self._count(block[:whole].reshape(-1, self._size, self.channels))

    def _count(self, frames: Samples) -> None:
        level = 20 * np.log10(frames.std(axis=1, dtype=np.float64) + 1e-9)
        ordered = np.sort(level, axis=1)
        top = ordered[:, -1]
        second = ordered[:, -2] if self.channels > 1 else np.full(len(top), -np.inf)
        leads = (top - second >= LEAD_DB).astype(int)
        bins = np.clip(np.floor(top - _FLOOR_DB), 0, _BINS - 1).astype(int)
        np.add.at(self._frames, (bins, level.argmax(axis=1), leads), 1)
        self.loudest_dbfs = max(self.loudest_dbfs, float(top.max()))

    @property
    def mean(self) -> NDArray[np.float64]:
        """DC offset, [channels]."""
        return self._sum / max(1, self.samples)

    @property
    def clipped_share(self) -> NDArray[np.float64]:
        """Share of samples at full scale, [channels]."""
        return self._clipped / max(1, self.samples)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the channels [channels, channels]; the diagonal is their power without the offset."""
        return self._products / max(1, self.samples) - np.outer(self.mean, self.mean)

    def activity(self) -> ChannelActivity:
        """Activity of the channels over the blocks so far."""
        active = self._active()
        count = max(1, active.sum())
        return ChannelActivity(active[:, :, 1].sum(axis=0) / count, active.sum(axis=(0, 2)) / count)

    def level_spread(self) -> float:
        """Standard deviation of the level over the active frames, in dB."""
        by_level = self._active().sum(axis=(1, 2))
        level = np.arange(len(by_level))
        mean = np.average(level, weights=by_level)
        return float(np.sqrt(np.average((level - mean) ** 2, weights=by_level)))

    def _active(self) -> NDArray[np.int64]:
        """Counts of the active frames, as in `_frames`, from the level at which they begin."""
        cumulative = np.cumsum(self._frames.sum(axis=(1, 2)))
        loud = int(np.searchsorted(cumulative, 0.99 * cumulative[-1]))
        return self._frames[max(0, loud - int(ACTIVE_DB)) :]
