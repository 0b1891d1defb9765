"""What a file says of itself: the duration that it promises, or what it is when it is no recording."""

import struct
from pathlib import Path
from typing import Any, BinaryIO

PLACEHOLDER = 0x7FFFF000
"""From here on a 32-bit size is what a recorder writes that can't know the length."""

GUESSED = ("aac", "ac3", "eac3", "amr", "loas", "mpeg", "mpegts")
"""Containers without a length, where the reader only guesses one from the bit rate."""


def declared_seconds(path: Path, container: Any, stream: Any) -> float | None:
    """Duration that the header claims for the audio; None where it makes no claim.

    `container` and `stream` are PyAV's, whose own durations are partly guesses from the file's size.
    """
    name = container.format.name
    with path.open("rb") as file:
        if name == "wav":
            return _wav_seconds(file)
        if name in GUESSED or (name == "mp3" and not _has_mp3_length(file)):
            return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if tag := stream.metadata.get("DURATION"):  # Matroska, per track, as 00:00:10.650000000
        return _clock_seconds(tag)
    if container.duration and not container.streams.video:
        return float(container.duration / 1_000_000)
    return None


def _wav_seconds(file: BinaryIO) -> float | None:
    """From the sizes in a RIFF or RF64 header, even where the file ends before them."""
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
    """Whether the first frame is a Xing, Info or VBRI header, which counts the frames."""
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
    """Whether an Ogg file stops without the page that ends its stream; it makes no claim of a duration."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**17))
        tail = file.read()
    last = tail.rfind(b"OggS")
    return last < 0 or not tail[last + 5 : last + 6] or not tail[last + 5] & 4


def what_else(path: Path) -> str:
    """What a file that no decoder takes looks like, in words."""
    with path.open("rb") as file:
        head = file.read(1024)
    start = head.lstrip().lower()
    if not head:
        return "the file is empty"
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start[:512]:
        return "it is an HTML page, such as a server's error message, not audio"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; the audio itself was never fetched"
    if start.startswith((b"{", b"[")) and _is_text(head):
        return "it is JSON, not audio"
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        return "it is a packed archive; unpack it first"
    if _is_text(head):
        return "it is a text file, not audio"
    if head[4:8] == b"ftyp":
        return "an MP4 file whose index (moov) is missing or damaged: it was cut off or never finished"
    return "no audio format is recognised in it: the file is damaged or not audio"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\r\n\t" for letter in text)
