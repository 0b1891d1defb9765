"""File headers: the declared duration, and what a file is if it isn't audio."""

import struct
from pathlib import Path
from typing import Any, BinaryIO

PLACEHOLDER = 0x7FFFF000
"""Sizes from here on are placeholders, written by recorders that don't know the length in advance."""

WITHOUT_DURATION = ("aac", "ac3", "eac3", "amr", "loas", "mpeg", "mpegts")
"""Containers that don't store a duration; FFmpeg estimates it from the bit rate."""


def declared_seconds(path: Path, container: Any, stream: Any) -> float | None:
    """Duration of the audio according to the file's header; None if it declares none.

    `container` and `stream` are PyAV's. Some of their durations are estimated from the size of the file, and
    are not used here.
    """
    name = container.format.name
    with path.open("rb") as file:
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


def _wav_seconds(file: BinaryIO) -> float | None:
    """From the sizes in a RIFF or RF64 header, even if the file is shorter."""
    if file.read(4) not in (b"RIFF", b"RF64"):
        return None
    file.seek(12)
    bytes_per_second = long_size = 0
    while len(head := file.read(8)) == 8:
        chunk, size = struct.unpack("<4sI", head)
        if chunk == b"data":
            size = long_size or (size if size < PLACEHOLDER else 0)
            return size / bytes_per_second if size and bytes_per_second else None
        content = file.read(min(size, 16))
        if chunk == b"fmt " and len(content) == 16:
            bytes_per_second = struct.unpack_from("<I", content, 8)[0]
        if chunk == b"ds64" and len(content) == 16:
            long_size = struct.unpack_from("<Q", content, 8)[0]
        file.seek(size + size % 2 - len(content), 1)
    return None


def _has_mp3_length(file: BinaryIO) -> bool:
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


def lacks_end_mark(path: Path) -> bool:
    """Whether an Ogg file lacks its end-of-stream page: its header declares no duration to compare with."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**17))
        tail = file.read()
    last = tail.rfind(b"OggS")
    return last < 0 or not tail[last + 5 : last + 6] or not tail[last + 5] & 4


def what_else(path: Path) -> str:
    """What a file that can't be decoded appears to be, as a clause for a message."""
    with path.open("rb") as file:
        head = file.read(1024)
    start = head.lstrip().lower()
    if not head:
        return "the file is empty"
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start[:512]:
        return "it is an HTML page, such as a server's error message, not audio"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; the audio itself was not downloaded"
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "it is JSON, not audio"
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        return "it is an archive; extract it first"
    if _is_text(head):
        return "it is a text file, not audio"
    if head[4:8] == b"ftyp":
        return (
            "it is an MP4 file whose index (moov) is missing or damaged: it was truncated or never finished"
        )
    return "it has no known audio format: the file is damaged or not audio"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\r\n\t" for letter in text)
