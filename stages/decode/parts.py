"""The parts of a file: recordings joined end to end, and data that its header doesn't describe rightly.

Most files have one part and a right header. FFmpeg stops at the end of the first part, and where a header
says that the data ends; here each part is found, and a header that says less than the file holds is corrected
in what FFmpeg reads.
"""

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PLACEHOLDER = 0x7FFFF000
"""Sizes from here on are placeholders, written by recorders that don't know the length in advance."""

_WINDOW = 2**20
"""Bytes that are searched at once."""

PLAIN_CODES = (1, 3, 6, 7)
"""Format tags of WAV whose samples have a fixed size: integers, floats, A-law and mu-law."""

SMALLEST_REST = 1024
"""Bytes after the declared end of the data that may be sound; fewer are padding or a tag."""


@dataclass(frozen=True)
class Part:
    """A range of bytes of a file that is a whole file of its own."""

    start: int
    end: int
    patches: tuple[tuple[int, bytes], ...] = ()
    """Bytes that replace those at an offset from `start`: corrected sizes."""
    declared_share: float = 1.0
    """How much of its data the header declares, before the correction; 0 if it declares nothing."""
    codec: str | None = None
    """Decoder for PCM samples whose size in bytes FFmpeg gets wrong."""
    note: str | None = None
    """What else its header doesn't describe rightly."""


class PartFile:
    """A part as an open file for reading."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file = file
        self._part = part
        self._at = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes from the current position; none at the end."""
        first = self._at
        size = max(0, min(size, self._part.end - self._part.start - first))
        self._file.seek(self._part.start + first)
        data = self._file.read(size)
        self._at += len(data)
        for offset, new in self._part.patches:
            low, high = max(offset, first), min(offset + len(new), self._at)
            if low < high:
                new = new[low - offset : high - offset]
                data = data[: low - first] + new + data[high - first :]
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset from the start (0), the current position (1) or the end (2)."""
        self._at = offset + (0, self._at, self._part.end - self._part.start)[whence]
        return self._at

    def tell(self) -> int:
        """The current position."""
        return self._at


class FileBytes:
    """The bytes of an open file, of which no more are in memory than are looked at."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> bytes:
        first, end, _ = span.indices(self._size)
        return os.pread(self._file.fileno(), max(0, end - first), first)

    def matches(self, pattern: bytes, start: int = 0) -> Iterator[int]:
        """Offsets from `start` on at which a pattern of at most 128 bytes matches."""
        compiled = re.compile(pattern, re.S)
        for first in range(start, self._size, _WINDOW):
            for match in compiled.finditer(self[first : first + _WINDOW + 128]):
                if match.start() < _WINDOW:
                    yield first + match.start()


def parts_of(path: Path) -> list[Part]:
    """The parts of a file, in order; a single one for files that can't be told apart."""
    size = path.stat().st_size
    whole = [Part(0, size)]
    if size < 16:
        return whole
    with path.open("rb") as file:
        view = FileBytes(file)
        if view[:4] == b"OggS":
            starts = list(_ogg_links(view))
        elif signature := next((s for s in SIGNATURES if re.match(s, view[:80], re.S)), None):
            starts = list(view.matches(signature))
        elif view[:4] == b".snd" and not any(view[8:12]):
            return [Part(0, size, ((8, b"\xff" * 4),), 0.0)]
        elif re.match(rb"ID3|" + _MP3_FRAME, view[:3], re.S):
            return list(_mp3_files(view))
        elif view[4:8] == b"ftyp":
            starts = list(_mp4_files(view))
        elif layout := next((layout for layout in LAYOUTS if re.match(layout.magic, view[:40], re.S)), None):
            return list(_chunked(view, layout))
        else:
            return whole
    return [Part(start, end) for start, end in zip(starts, [*starts[1:], size], strict=True)]


SIGNATURES = (
    rb"fLaC[\x00\x80]\x00\x00\x22",
    rb"FLV\x01[\x00-\x05]\x00\x00\x00\x09\x00\x00\x00\x00",
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
    rb"\x1a\x45\xdf\xa3.{,60}?\x42\x82.(?:matroska|webm)",
)
"""How FLAC, FLV, ASF and Matroska files begin, by so many bytes that they are found nowhere else."""


def _ogg_links(view: FileBytes) -> Iterator[int]:
    """Offsets at which the links of a chained Ogg file start: the first page of each group of first pages."""
    yield 0
    expected = 0
    for at in view.matches(rb"OggS\x00[\x02\x06]"):
        if at > expected:
            yield at
        head = view[at : at + 27 + 255]
        lacing = head[27 : 27 + head[26]] if len(head) > 26 else b""
        expected = at + 27 + len(lacing) + sum(lacing)


_MP3_FRAME = rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"
_MP3_FILE = rb"ID3[\x02-\x04].{2}[\x00-\x7f]{4}|" + _MP3_FRAME + rb".{2}\x00{9,34}(?:Xing|Info)"
"""How an MP3 file begins: with a tag, or with a frame that says how many there are."""


def _mp3_files(view: FileBytes) -> Iterator[Part]:
    """The MP3 files that are joined in a file, without a tag at the end.

    FFmpeg looks for frames in tags that are not at the start, takes the pictures in them for damage or sound,
    and leaves out what the encoder added only at the first start.
    """
    start = sound = 0
    for at in view.matches(_MP3_FILE):
        if at < sound:  # in a tag
            continue
        tag = view[at : at + 10]
        after = at + 10 + _tag_size(tag[6:]) if tag[:3] == b"ID3" else at
        if at - sound >= SMALLEST_REST:
            if after + SMALLEST_REST > len(view):
                yield Part(start, at)
                return
            if not re.match(_MP3_FRAME, view[after : after + 2]):
                continue
            yield Part(start, at)
            start = at
        sound = after
    yield Part(start, len(view))


def _tag_size(size: bytes) -> int:
    """The size that an ID3 tag states, 7 bits a byte."""
    return sum(byte << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))


def _mp4_files(view: FileBytes) -> Iterator[int]:
    """Offsets at which the MP4 files in a file start: at an `ftyp` box after the media of another."""
    at, media = 0, False
    yield 0
    while at + 16 <= len(view):
        size, kind, long_size = struct.unpack(">I4sQ", view[at : at + 16])
        if kind == b"ftyp" and media:
            yield at
            media = False
        media |= kind == b"mdat"
        size = long_size if size == 1 else size
        if size < 8:  # 0: to the end of the file
            return
        at += size


@dataclass(frozen=True)
class ChunkLayout:
    """How a family of files stores chunks, each an id and a size before its content."""

    magic: bytes
    first: int
    """Offset of the first chunk."""
    id_bytes: int
    size: struct.Struct
    size_includes_head: bool
    alignment: int
    data: bytes
    """Id of the chunk with the samples."""

    @property
    def head(self) -> int:
        """Bytes of the id and the size of a chunk."""
        return self.id_bytes + self.size.size

    def chunk(self, view: FileBytes, at: int) -> tuple[bytes, int]:
        """Id and size of the content of the chunk at an offset."""
        size: int = self.size.unpack(view[at + self.id_bytes : at + self.head])[0]
        return view[at : at + self.id_bytes], size - (self.head if self.size_includes_head else 0)

    def after(self, start: int, size: int) -> int:
        """Offset of the chunk after one whose content has a start and a size."""
        return start + size + -size % self.alignment


_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")
WAV = ChunkLayout(rb"(RIFF|RF64|BW64)....WAVE", 12, 4, struct.Struct("<I"), False, 2, b"data")
LAYOUTS = (
    WAV,
    ChunkLayout(rb"RIFX....WAVE", 12, 4, struct.Struct(">I"), False, 2, b"data"),
    ChunkLayout(rb"FORM....AIF[FC]", 12, 4, struct.Struct(">I"), False, 2, b"SSND"),
    ChunkLayout(rb"riff.{36}", 40, 16, struct.Struct("<Q"), True, 8, b"data" + _W64),
    ChunkLayout(rb"caff", 8, 4, struct.Struct(">q"), False, 1, b"data"),
)


def _chunked(view: FileBytes, layout: ChunkLayout) -> Iterator[Part]:
    """The files of one layout that are joined in a file, their data as long as it is."""
    start = 0
    while start < len(view):
        part = _one_chunked(view, layout, start)
        yield part
        start = part.end


def _one_chunked(view: FileBytes, layout: ChunkLayout, start: int) -> Part:
    at, total = start + layout.first, len(view)
    sizes_at = long_size = 0
    codec = note = None
    while at + layout.head <= total:
        name, size = layout.chunk(view, at)
        content = at + layout.head
        if name == layout.data:
            break
        if name[:4] == b"fmt ":
            codec, note = _pcm_format(view[content : content + min(size, 40)], layout.size.format[0])
        if name == b"ds64":
            sizes_at = content
            long_size = int.from_bytes(view[content + 8 : content + 16], "little")
        if size < 0:
            return Part(start, total)
        at = layout.after(content, size)
    else:
        return Part(start, total, codec=codec, note=note)
    if layout is WAV and size == 0xFFFFFFFF:
        size = long_size
    unknown = size <= 0 or size >= 2**63 or (layout.size.size == 4 and size >= PLACEHOLDER and not long_size)
    declared_end = total if unknown else min(content + size, total)
    for after in (layout.after(content, declared_end - content), declared_end):
        end = _end_of_chunks(view, layout, after)
        if end is not None and not unknown:  # the data is followed by chunks, as it should be
            return Part(start, end, codec=codec, note=note)
    # The samples go on after their declared end: up to a file that was joined to this one, or to the end.
    end = next(view.matches(layout.magic, content if unknown else declared_end), total)
    if not unknown and end - declared_end < SMALLEST_REST:
        return Part(start, end, codec=codec, note=note)
    held = end - content
    if sizes_at:  # RF64
        patch = sizes_at + 8 - start, struct.pack("<Q", held)
    else:
        new = held + (layout.head if layout.size_includes_head else 0)
        patch = at + layout.id_bytes - start, layout.size.pack(new if new < PLACEHOLDER else 0)
    share = 0.0 if unknown else (declared_end - content) / max(1, held)
    return Part(start, end, (patch,), share, codec, note)


def _end_of_chunks(view: FileBytes, layout: ChunkLayout, at: int) -> int | None:
    """Where the chunks from an offset end: with the file, or at a joined one. None if there are none."""
    while at + layout.head <= len(view):
        if re.match(layout.magic, view[at : at + 40], re.S):
            return at
        name, size = layout.chunk(view, at)
        if not re.fullmatch(rb"[A-Za-z0-9 _-]{4}", name[:4]) or size < 0:
            return None
        at = layout.after(at + layout.head, size)
        if at > len(view) + 1:
            return None
    return len(view)


def _pcm_format(fmt: bytes, order: str) -> tuple[str | None, str | None]:
    """What to correct of the format of PCM samples: the decoder, and a note.

    The decoder is that of integers which fill fewer bits than they are stored in, such as 24 in 32: FFmpeg
    goes by the number of valid bits. It also takes the samples of RIFX, whose numbers have the other byte
    order, for those of RIFF.
    """
    if len(fmt) < 16:
        return None, None
    tag, channels, rate, byte_rate, block, bits = struct.unpack_from(order + "HHIIHH", fmt)
    if order == ">":
        return (f"pcm_s{bits}be" if tag == 1 and bits in (16, 24, 32) else None), None
    if tag == 0xFFFE and len(fmt) >= 40:
        bits, tag = struct.unpack_from("<H4xH", fmt, 18)
    block = max(block, channels * -(-bits // 8))
    if tag in PLAIN_CODES and byte_rate != rate * block:
        return None, f"the header gives {byte_rate} bytes a second, but its format takes {rate * block}"
    size = block // channels if channels else 0
    if tag != 1 or len(fmt) not in (16, 40) or size not in (2, 3, 4) or -(-bits // 8) in (0, size):
        return None, None
    return f"pcm_s{8 * size}le", f"{bits} bits are stored in {8 * size}"
