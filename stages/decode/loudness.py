"""Integrated loudness (ITU-R BS.1770-4), computed block by block."""

from math import pi, tan

import numpy as np
from numpy.typing import NDArray

from stages.stage import Samples

_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0
_OFFSET = -0.691
_STEP = 0.05
"""Loudness units per bin. A histogram is kept instead of all windows, so that memory stays bounded."""


def k_weighting(rate: int) -> NDArray[np.float64]:
    """The K-weighting of BS.1770 at any sample rate in Hz: a high shelf and a high pass, as sections [2, 6].

    The standard gives coefficients for 48 kHz only; these follow from the underlying analogue filters.
    """
    gain, q, k = 10 ** (3.999843853973347 / 20), 0.7071752369554196, tan(pi * 1681.974450955533 / rate)
    middle = gain**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [
        (gain + middle * k / q + k * k) / a0,
        2 * (k * k - gain) / a0,
        (gain - middle * k / q + k * k) / a0,
        1.0,
        2 * (k * k - 1) / a0,
        (1 - k / q + k * k) / a0,
    ]
    q, k = 0.5003270373238773, tan(pi * 38.13547087602444 / rate)
    a0 = 1 + k / q + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return np.array([shelf, high_pass])


class Loudness:
    """Loudness of audio that arrives in blocks. Tracks are summed like the channels of the standard."""

    def __init__(self, rate: int, tracks: int) -> None:
        self._sections = k_weighting(rate)
        self._state = np.zeros((2, 2, tracks))
        self._hop = rate // 10
        self._rest = np.zeros(0)
        self._hops = np.zeros(0)
        self._counts = np.zeros(round(100 / _STEP), np.int64)
        self._energy = np.zeros_like(self._counts, dtype=np.float64)

    def add(self, block: Samples) -> None:
        """Include a block of samples [n, tracks]."""
        from scipy.signal import sosfilt  # slow to import, and the command line imports every stage

        if not len(block):
            return
        weighted, self._state = sosfilt(self._sections, block.astype(np.float64), axis=0, zi=self._state)
        power = np.concatenate([self._rest, (weighted**2).sum(axis=1)])
        whole = len(power) // self._hop * self._hop
        self._rest = power[whole:]
        hops = np.concatenate([self._hops, power[:whole].reshape(-1, self._hop).mean(axis=1)])
        if len(hops) >= 4:  # windows of 400 ms, 100 ms apart
            windows = np.lib.stride_tricks.sliding_window_view(hops, 4).mean(axis=1)
            level = _OFFSET + 10 * np.log10(windows + 1e-15)
            gated = level > _ABSOLUTE_GATE
            bins = np.minimum(((level[gated] - _ABSOLUTE_GATE) / _STEP).astype(int), len(self._counts) - 1)
            np.add.at(self._counts, bins, 1)
            np.add.at(self._energy, bins, windows[gated])
        self._hops = hops[-3:]

    @property
    def integrated(self) -> float | None:
        """Loudness in LUFS; None if nothing is above the gate or the audio is shorter than 400 ms."""
        if not self._counts.any():
            return None
        gate = _OFFSET + 10 * np.log10(self._energy.sum() / self._counts.sum()) + _RELATIVE_GATE
        first = max(0, int(np.ceil((gate - _ABSOLUTE_GATE) / _STEP)))
        return float(_OFFSET + 10 * np.log10(self._energy[first:].sum() / self._counts[first:].sum()))
