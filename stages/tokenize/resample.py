"""Any sample rate to 16 kHz as the Step-Audio tokenizer does it, for codes that are exactly those of it."""

from functools import lru_cache
from typing import Any

import numpy as np

from stages.stage import SAMPLE_RATE, Samples


def to_16k(samples: Samples, rate: int) -> Samples:
    """Samples [n] at `rate` Hz, or [channels, n] to be averaged first, as [ceil(n * 16000 / rate)] at 16 kHz.

    Windowed sinc with torchaudio's defaults (Hann, width 6, roll-off 0.99). 8 kHz is raised, which the
    original refuses.
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
