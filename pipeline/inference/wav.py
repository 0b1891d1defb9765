"""Audio as 16-bit PCM, and as WAV files that can be played while they are written."""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from schemas.errors import SetupError
from stages.stage import Samples

HEADER_BYTES = 44
_UNKNOWN = 0xFFFFFFFF
"""The length that players accept for a stream of unknown length."""


def pcm16(samples: Samples) -> bytes:
    """Samples [n] with full scale 1.0 as little-endian 16-bit integers."""
    return bytes(np.rint(samples.clip(-1, 1) * 32767).astype("<i2").data)


def wav(samples: Samples, rate: int) -> bytes:
    """A complete mono WAV file; `rate` in Hz."""
    data = pcm16(samples)
    return header(rate, len(data)) + data


class WavWriter:
    """Writes a WAV file or pipe: the header at once, samples as they arrive.

    The header gives an unknown length until the file is closed; in a pipe it stays that way. Raises
    SetupError if the file can't be created.
    """

    def __init__(self, to: Path | BinaryIO, rate: int) -> None:
        try:
            self._file = to.open("wb") if isinstance(to, Path) else to
        except OSError as error:
            raise SetupError(f"{to} can't be written: {error.strerror}") from None
        self._owns_file = isinstance(to, Path)
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
        """Write the final length and close the file; a pipe is left open."""
        if self._owns_file:
            if self._file.seekable():
                self._file.seek(0)
                self._file.write(header(self._rate, self._bytes))
            self._file.close()


def header(rate: int, length: int | None) -> bytes:
    riff, data = (_UNKNOWN, _UNKNOWN) if length is None else (length + HEADER_BYTES - 8, length)
    format_chunk = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + format_chunk + b"data" + struct.pack("<I", data)
