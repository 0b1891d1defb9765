"""Voice prompts without the silence around them."""

import numpy as np

from stages.stage import Samples

BEFORE = 800
"""Samples kept before the first that is loud (50 ms)."""
FRAME = 240
BEHIND = 4320


def trimmed(samples: Samples) -> Samples:
    """A prompt [n] at 16 kHz from 50 ms before it rises to 20 dB below its peak.

    Its length is that of the whole frames of 15 ms up to the last loud sample, and 4,320 more; what lacks
    at either end is filled with zeros.
    """
    import librosa

    _, (first, last) = librosa.effects.trim(samples, top_db=20, frame_length=512, hop_length=128)
    length = -(-(last - first) // FRAME) * FRAME + BEHIND
    start = first - BEFORE
    kept = samples[start:] if start > 0 else np.pad(samples, (-start, 0))
    return np.pad(kept[:length], (0, max(0, length - len(kept))))
