"""Trimming of voice prompts as in the original."""

import numpy as np

from stages.stage import Samples

LEAD = 800
"""Samples (50 ms) to keep before the first loud one."""
FRAME = 240
"""Samples (15 ms) to whose multiple the loud part is extended."""
TAIL = 4320
"""Samples (270 ms) to keep after the loud part."""


def trimmed(samples: Samples) -> Samples:
    """A prompt [n] at 16 kHz without silence at both ends.

    The loud part, within 20 dB of the peak, is extended to whole frames, and by `LEAD` and `TAIL`. Missing
    samples at either end are filled with zeros.
    """
    import librosa

    _, (first, last) = librosa.effects.trim(samples, top_db=20, frame_length=512, hop_length=128)
    length = -(-(last - first) // FRAME) * FRAME + TAIL
    start = first - LEAD
    kept = samples[start:] if start > 0 else np.pad(samples, (-start, 0))
    return np.pad(kept[:length], (0, max(0, length - len(kept))))
