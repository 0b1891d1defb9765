"""The duration that the header of a file declares."""

import struct
from typing import Any, Protocol

from stages.decode.parts import PLACEHOLDER, PLAIN_CODES

WITHOUT_DURATION = ("aac", "ac3", "eac3", "amr", "loas", "mpeg", "mpegts")
"""Containers that don't store a duration; FFmpeg estimates it from the bit rate."""


class Readable(Protocol):
    """What of a file is needed here."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


def declared_seconds(file: Readable, container: Any, stream: Any) -> float | None:
    """Duration of the audio according to the file's header; None if it declares none.

    `container` and `stream` are PyAV's. Some of their durations are estimated from the size of the file, and
    are not used here.
    """
    name = container.format.name
    file.seek(0)
    if name == "wav":
        return _wav_seconds(file)
    if name in WITHOUT_DURATION or (name == "mp3" and not _has_mp3_length(file)):
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if tag := stream.metadata.get("DURATION"):  # Matroska, per track, as 00:00:10.650000000
        return _clock_seconds(tag)
    if container.duration and not container.streams.video:
        return float(container.duration / 1_000_000)
    return None


def _wav_seconds(file: Readable) -> float | None:
    """From the sizes in a RIFF or RF64 header, even if the file is shorter."""
    if file.read(4) not in (b"RIFF", b"RF64", b"BW64"):
        return None
    file.seek(12)
    bytes_per_second = long_size = 0
    while len(head := file.read(8)) == 8:
        chunk, size = struct.unpack("<4sI", head)
        if chunk == b"data":
            size = long_size or (size if size < PLACEHOLDER else 0)
            return size / bytes_per_second if size and bytes_per_second else None
        content = file.read(min(size, 26))
        if chunk == b"fmt " and len(content) >= 16:
            tag, channels, rate, bytes_per_second, block, bits = struct.unpack_from("<HHIIHH", content)
            if (content[24] if tag == 0xFFFE and len(content) > 24 else tag) in PLAIN_CODES:
                # The byte rate follows from these, and isn't needed by players: it is often wrong.
                bytes_per_second = rate * max(block, channels * -(-bits // 8))
        if chunk == b"ds64" and len(content) >= 16:
            long_size = struct.unpack_from("<Q", content, 8)[0]
        file.seek(size + size % 2 - len(content), 1)
    return None


def _has_mp3_length(file: Readable) -> bool:
    """Whether the first frame is a Xing, Info or VBRI header, which states the number of frames."""
    head = file.read(10)
    if head[:3] == b"ID3" and len(head) == 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        file.seek(10 + size)
    else:
        file.seek(0)
    first = file.read(4096)
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))


def _clock_seconds(tag: str) -> float | None:
    try:
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
