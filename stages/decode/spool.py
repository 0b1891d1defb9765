"""The 16 kHz, 16-bit FLAC that every later stage reads."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from schemas.errors import SetupError
from stages.stage import SAMPLE_RATE, Samples


class Resampler:
    """[n, tracks] blocks at any rate to 16 kHz; audio at 16 kHz passes untouched."""

    def __init__(self, rate: int, tracks: int) -> None:
        same = rate == SAMPLE_RATE
        self._stream = None if same else soxr.ResampleStream(rate, SAMPLE_RATE, tracks, dtype="float32")
        self._nothing = np.zeros((0, tracks), np.float32)

    def add(self, block: Samples) -> Samples:
        return self._stream.resample_chunk(np.ascontiguousarray(block)) if self._stream else block

    def end(self) -> Samples:
        return self._stream.resample_chunk(self._nothing, last=True) if self._stream else self._nothing


def write_spool(blocks: Iterable[Samples], spool: Path, tracks: int) -> int:
    """Write [n, tracks] blocks at 16 kHz under a passing name, then rename; returns the samples a track.

    Raises SetupError when the disk does not take them.
    """
    passing = spool.with_name(f"{spool.name}.{os.getpid()}-{threading.get_ident()}.part")
    written = 0
    try:
        spool.parent.mkdir(parents=True, exist_ok=True)
        with sf.SoundFile(
            passing, "w", samplerate=SAMPLE_RATE, channels=tracks, format="FLAC", subtype="PCM_16"
        ) as file:
            for block in blocks:
                written += len(block)
                file.write(np.clip(np.rint(block * 32768), -32768, 32767).astype(np.int16))
        if sf.info(passing).frames != written:  # the last of it is only written on closing, without a word
            raise OSError("what was written does not read back")
        passing.replace(spool)
    except (OSError, sf.LibsndfileError) as error:
        raise SetupError(
            f"Can't write decoded audio to {spool.parent} ({error}): is the disk full?"
        ) from error
    finally:
        passing.unlink(missing_ok=True)
    return written
