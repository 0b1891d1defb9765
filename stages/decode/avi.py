"""The clock of AVI files, which have no time stamps: an empty chunk stands for a frame without audio."""

import struct

import numpy as np
from numpy.typing import NDArray

from stages.decode.headers import Readable

_ENTRY = np.dtype([("id", "S4"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])


def frame_numbers(file: Readable, stream: int, frames: int) -> NDArray[np.intp] | None:
    """The place on the clock, in frames, of each chunk of a stream that has audio; `frames` are declared.

    FFmpeg leaves out the chunks without. None if there are none, or if the index doesn't account for all.
    """
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"idx1":
            index = np.frombuffer(file.read(size // 16 * 16), _ENTRY)
            sizes = index["size"][index["id"] == b"%02dwb" % stream]
            return np.flatnonzero(sizes) if len(sizes) == frames and not sizes.all() else None
        file.seek(size + size % 2, 1)
    return None
