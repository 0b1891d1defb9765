"""Reading parts of files: by range, without unpacking what they are in."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from pipeline.inputs.part import TAR, ZIP, FilePart
from pipeline.storage.range_file import RangeFile
from pipeline.storage.store import Store, split
from schemas.errors import DataError

_CHUNK = 4 * 1024 * 1024
STORED, DEFLATED = 0, 8
"""Methods of members of a zip."""
_HEADER = struct.Struct("<4s5H3I2H")
"""Of a member of a zip, before its name."""


def ranged(part: FilePart) -> bool:
    """Whether the bytes of a part lie in its file as they are."""
    return part.kind == TAR or (part.kind == ZIP and part.place[3] == STORED)


def size_of(part: FilePart) -> int:
    """The bytes of a member of a tar or a zip."""
    return part.place[2] if part.kind == ZIP else part.place[1]


def member_bytes(part: FilePart) -> Iterator[bytes]:
    """The bytes of a member of a tar or a zip, in pieces.

    Raises DataError for a damaged member, FileNotFoundError if the file is gone.
    """
    store, name = split(part.file)
    if part.kind == TAR:
        start, size = part.place
        yield from _range(store, name, start, size)
    else:
        yield from _zip_bytes(part, store, name)


def _zip_bytes(part: FilePart, store: Store, name: str) -> Iterator[bytes]:
    header, packed, size, method, crc = part.place
    fields = b"".join(_range(store, name, header, _HEADER.size))
    magic, *_, name_bytes, extra_bytes = _HEADER.unpack(fields)
    if magic != b"PK\3\4":
        raise DataError("damaged_member", f"there is no header of a member at byte {header:,} of the zip")
    data = _range(store, name, header + _HEADER.size + name_bytes + extra_bytes, packed)
    found, sum = 0, 0
    for piece in data if method == STORED else _inflated(data):
        found += len(piece)
        sum = zlib.crc32(piece, sum)
        if found > size:
            raise DataError("bomb", f"it inflates to more than the {size:,} bytes that the zip claims")
        yield piece
    if (found, sum) != (size, crc):
        raise DataError("damaged_member", "its bytes don't match the checksum in the zip")


def _inflated(data: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in data:
            while piece:
                yield inflater.decompress(piece, _CHUNK)
                piece = inflater.unconsumed_tail
        yield inflater.flush()
    except zlib.error as error:
        raise DataError("damaged_member", f"it can't be inflated: {error}") from error


def _range(store: Store, name: str, start: int, size: int) -> Iterator[bytes]:
    """The bytes [start, start + size) of a file, in pieces. Raises DataError if it ends before."""
    if store.is_local:
        with store.open(name) as file:
            file.seek(start)
            yield from pieces(file, size)
        return
    for at in range(start, start + size, _CHUNK):
        end = min(at + _CHUNK, start + size)
        data = store.read(name, at, end)
        if len(data) < end - at:
            raise DataError("truncated", f"the file ends before byte {end:,}, in the middle of it")
        yield data


def pieces(file: IO[bytes] | io.BufferedIOBase, size: int) -> Iterator[bytes]:
    """`size` bytes of an open file, in pieces. Raises DataError if it ends before."""
    left = size
    while left:
        data = file.read(min(left, _CHUNK))
        if not data:
            raise DataError("truncated", f"the file ends {left:,} bytes before the end of it")
        left -= len(data)
        yield data


@contextmanager
def open_part(part: FilePart) -> Iterator[IO[bytes]]:
    """A part whose bytes lie in its file as they are, as a file: for `ranged` parts.

    Raises ValueError if there is no such part, FileNotFoundError if the file is gone.
    """
    store, name = split(part.file)
    with store.open(name) as file:
        first = part.place[0]
        if part.kind == ZIP:
            file.seek(first)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise ValueError("the zip ends before the member")
            *_, name_bytes, extra_bytes = _HEADER.unpack(header)
            first += _HEADER.size + name_bytes + extra_bytes

        def read(start: int, end: int) -> bytes:
            file.seek(first + start)
            return file.read(max(0, end - start))

        with io.BufferedReader(RangeFile(size_of(part), read)) as opened:
            yield opened
