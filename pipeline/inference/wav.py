"""Speech as 16-bit PCM, and as a WAV that can be played while it grows."""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from schemas.errors import SetupError
from stages.stage import Samples

HEADER = 44
"""Bytes"""
_UNKNOWN = 0xFFFFFFFF
"""The length of what goes on, as players read it from pipes."""


def pcm16(samples: Samples) -> bytes:
    """Samples [n] of full scale 1.0 as 16-bit integers, little endian."""
    return bytes(np.rint(samples.clip(-1, 1) * 32767).astype("<i2").data)


def wav(samples: Samples, rate: int) -> bytes:
    """A whole file, one channel."""
    data = pcm16(samples)
    return header(rate, len(data)) + data


class WavWriter:
    """A file, or a pipe, that has its header at once and each sample when it is known.

    The header says an unknown length until the file is closed; in a pipe it stays so.
    """

    def __init__(self, to: Path | BinaryIO, rate: int) -> None:
        try:
            self._file = to.open("wb") if isinstance(to, Path) else to
        except OSError as error:
            raise SetupError(f"{to} can't be written: {error.strerror}") from None
        self._own = isinstance(to, Path)
        self._rate = rate
        self._bytes = 0
        self._file.write(header(rate, None))
        self._file.flush()

    def write(self, samples: Samples) -> None:
        data = pcm16(samples)
        self._file.write(data)
        self._file.flush()
        self._bytes += len(data)

    def close(self) -> None:
        """Say the length; a pipe is left open."""
        if self._own:
            if self._file.seekable():
                self._file.seek(0)
                self._file.write(header(self._rate, self._bytes))
            self._file.close()


def header(rate: int, length: int | None) -> bytes:
    riff, data = (_UNKNOWN, _UNKNOWN) if length is None else (length + HEADER - 8, length)
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + form + b"data" + struct.pack("<I", data)
