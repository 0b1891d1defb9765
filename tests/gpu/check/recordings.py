"""Real speech, of the repository."""

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from tests.paths import DEMO

PATHS = tuple(
    DEMO / "monologues" / name for name in ("LJ002-0020.wav", "1688-142285-0003.flac", "1998-15444-0004.flac")
)


def speech(rate: int) -> list[NDArray[np.float32]]:
    """The samples [n] of each recording, mono."""
    found = []
    for path in PATHS:
        samples, own = soundfile.read(path, dtype="float32", always_2d=True)
        found.append(soxr.resample(samples.mean(axis=1), own, rate))
    return found
