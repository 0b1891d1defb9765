"""The first seconds of a file in which there is sound, also of one that decode sets aside."""

from pathlib import Path

import numpy as np
import soxr

from schemas.errors import DataError
from stages.decode.reading import open_audio
from stages.stage import SAMPLE_RATE, Samples

_AUDIBLE = 10 ** (-60 / 20)
"""Amplitude from which there is sound."""
_SEARCHED = 600.0
"""Seconds in which sound is looked for."""
_LEAD = 0.25
"""Seconds of context before the sound, as far as they are in the same block."""


def first_sound(path: Path, seconds: float) -> tuple[float, Samples]:
    """(start, samples [n] at 16 kHz) of the loudest channel; silence from the start if there is only silence.

    Raises DataError if nothing can be decoded.
    """
    with open_audio(path) as source:
        kept: list[Samples] = []
        opening: list[Samples] = []
        start, seen, channel = 0.0, 0, 0
        try:
            for block in source.blocks():
                block, rate = np.nan_to_num(block), source.rate
                if not kept:
                    power = (block**2).mean(axis=0)
                    loud = np.flatnonzero(np.abs(block).max(axis=1) >= _AUDIBLE)
                    if len(loud):
                        channel = int(power.argmax())
                        first = max(0, int(loud[0]) - round(_LEAD * rate))
                        start = (seen + first) / rate
                        kept.append(block[first:, channel])
                    elif sum(map(len, opening)) < seconds * rate:
                        opening.append(block[:, 0])
                else:
                    kept.append(block[:, min(channel, block.shape[1] - 1)])
                seen += len(block)
                if sum(map(len, kept)) >= seconds * rate or seen >= _SEARCHED * rate:
                    break
        except DataError:  # what came before the damage can be listened to
            if not kept and not opening:
                raise
        found = np.concatenate(kept or opening) if kept or opening else np.zeros(0, np.float32)
        if not len(found):
            raise DataError("no_audio", "it holds no sound")
        found = found[: round(seconds * source.rate)].astype(np.float32)
        return start, np.asarray(soxr.resample(found, source.rate, SAMPLE_RATE), np.float32)
