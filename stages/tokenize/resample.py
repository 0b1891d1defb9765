"""Resampling to 16 kHz exactly as in the Step-Audio tokenizer, so that codes are identical."""

from functools import lru_cache
from typing import Any

import numpy as np

from stages.stage import SAMPLE_RATE, Samples


def to_16k(samples: Samples, rate: int) -> Samples:
    """Resample [n], or the mean of [channels, n], from `rate` Hz to [ceil(n * 16000 / rate)] at 16 kHz.

    Windowed sinc with torchaudio's defaults (Hann, width 6, roll-off 0.99). Unlike the original, this
    accepts rates below 16 kHz.
    """
    import torch

    mono = samples.mean(axis=0, dtype=np.float32) if samples.ndim == 2 else samples
    if rate == SAMPLE_RATE:
        return mono
    with torch.inference_mode():
        resampled: Samples = _resampler(rate)(torch.from_numpy(np.ascontiguousarray(mono))).numpy()
    return resampled


@lru_cache(maxsize=8)
def _resampler(rate: int) -> Any:
    from torchaudio.transforms import Resample

    return Resample(rate, SAMPLE_RATE)
