"""The spool: a 16 kHz, 16-bit FLAC file of a recording, which later stages read."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile as sf

from schemas.errors import SetupError
from stages.stage import SAMPLE_RATE, Samples


def write_spool(blocks: Iterable[Samples], spool: Path, tracks: int) -> int:
    """Write blocks [n, tracks] at 16 kHz to a file; returns the number of samples per track.

    The file is written under a temporary name and renamed when complete. Raises SetupError if writing fails.
    """
    partial = spool.with_name(f"{spool.name}.{os.getpid()}-{threading.get_ident()}.part")
    written = 0
    try:
        spool.parent.mkdir(parents=True, exist_ok=True)
        with sf.SoundFile(
            partial, "w", samplerate=SAMPLE_RATE, channels=tracks, format="FLAC", subtype="PCM_16"
        ) as file:
            for block in blocks:
                written += len(block)
                file.write(np.clip(np.rint(block * 32768), -32768, 32767).astype(np.int16))
        if sf.info(partial).frames != written:  # errors of the last write, on closing, are not reported
            raise OSError("the file is shorter than what was written")
        partial.replace(spool)
    except (OSError, sf.LibsndfileError) as error:
        raise SetupError(
            f"can't write decoded audio to {spool.parent} ({error}): is the disk full?"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return written
