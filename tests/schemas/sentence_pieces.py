"""A SentencePiece model of the size of Step-1's, made here: 65,536 pieces, the first five of them symbols."""

import hashlib
import itertools
import struct
from collections.abc import Sequence
from pathlib import Path

SYMBOLS = ("<unk>", "<s>", "</s>", "<|EOT|>", "<|BOT|>")
SIZE = 65536
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
BPE = 2


def step1_like(size: int = SIZE) -> list[tuple[str, float, int]]:
    """Pieces as (text, score, type): symbols, bytes, characters, then words in an order drawn by hash."""
    pieces = [(name, 0.0, CONTROL if id else UNKNOWN) for id, name in enumerate(SYMBOLS)]
    pieces += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    latin = [*map(chr, range(0x21, 0x7F)), "▁"]
    chinese = [chr(0x4E00 + n) for n in range(6000)]
    letters = [chr(ord("a") + n) for n in range(26)]
    pairs = ["".join(two) for two in itertools.product(["▁", *letters], letters)] + ["▁▁", "aaa", "▁▁▁▁"]
    triples = ["".join(three) for three in itertools.product(["▁", *letters], letters, letters)]
    fours = ["".join(four) for four in itertools.product(["▁", "b", "s", "t"], letters, letters, "aeinst")]
    both = ["".join(two) for two in zip(chinese, reversed(chinese), strict=True)]
    fives = itertools.product(["▁th", "▁in", "▁an", "str"], letters, letters, letters)
    groups = (pairs, both, triples, fours)
    words = dict.fromkeys(word for group in groups for word in sorted(group, key=_drawn))
    texts = [*latin, *chinese, *words, *map("".join, fives)]
    room = size - len(pieces)
    return pieces + [(text, -float(rank), NORMAL) for rank, text in enumerate(texts[:room])]


def _drawn(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


def write_model(
    path: Path,
    pieces: Sequence[tuple[str, float, int]],
    kind: int = BPE,
    prefix: bool = True,
    cuts_spaces: bool = False,
) -> Path:
    """Write pieces as a `tokenizer.model`, which puts a space before the text if `prefix`."""
    message = b"".join(_message(1, _piece(*piece)) for piece in pieces)
    message += _message(2, _integer(3, kind) + _integer(35, 1))
    message += _message(3, _message(1, b"identity") + _integer(3, prefix) + _integer(4, cuts_spaces))
    path.write_bytes(message)
    return path


def _piece(text: str, score: float, kind: int) -> bytes:
    return _message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + _integer(3, kind)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    low = bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
    return low + _varint(value >> 7) if value > 0x7F else low
