"""SentencePiece's `tokenizer.model`, read as a document in the form of `tokenizer.json` with the same ids.

The file is a protobuf message of pieces, each with a score and a type, and of a few settings. Only byte-pair
models are supported: their pieces are merged by score, as the merges of a `tokenizer.json` are by rank. Named
symbols are never found in text, whether the model calls them control symbols or user-defined ones.
"""

import base64
import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

_NORMAL, _UNKNOWN = 1, 2
_BPE = 2
_SPACE = "▁"

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5

_Fields = dict[int, list[Any]]
"""Number of a field -> its values: an integer, or bytes of a float, text or message."""


def tokenizer_document(raw: bytes) -> dict[str, Any]:
    """The content of a `tokenizer.model`. Raises ValueError for what is none, or not a byte-pair model."""
    try:
        return _document(_fields(raw))
    except (AttributeError, TypeError, struct.error):  # a field has another type or size
        raise ValueError("it is not a SentencePiece model") from None


def _document(model: _Fields) -> dict[str, Any]:
    pieces = [_piece(_fields(piece)) for piece in model[1]]
    trainer, normalizer = (_fields(b"".join(model[number])) for number in (2, 3))
    if not pieces:
        raise ValueError("it has no pieces")
    if trainer[3] != [_BPE]:
        raise ValueError("its pieces are not byte pairs, and other kinds of SentencePiece are not supported")
    unknown = next((piece for piece, _, kind in pieces if kind == _UNKNOWN), None)
    has_prefix, cuts_spaces = (normalizer[number] != [0] for number in (3, 4))
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(normalizer, has_prefix, cuts_spaces)},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": _decoders(has_prefix)},
        "model": {
            "type": "BPE",
            "unk_token": unknown,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {piece: id for id, (piece, _, _) in enumerate(pieces)},
            "merges": _merges({piece: score for piece, score, kind in pieces if kind == _NORMAL}),
        },
    }


def _piece(fields: _Fields) -> tuple[str, float, int]:
    """Text, score and type of a piece."""
    (text,) = fields[1]
    score = struct.unpack("<f", fields[2][0])[0] if fields[2] else 0.0
    return text.decode(), score, (fields[3] or [_NORMAL])[0]


def _merges(score_of: dict[str, float]) -> list[list[str]]:
    """Every pair of pieces that makes a piece, the highest score first."""
    return [
        [piece[:cut], piece[cut:]]
        for piece in sorted(score_of, key=lambda piece: -score_of[piece])
        for cut in range(1, len(piece))
        if piece[:cut] in score_of and piece[cut:] in score_of
    ]


def _normalizers(settings: _Fields, has_prefix: bool, cuts_spaces: bool) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if charsmap := b"".join(settings[2]):
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()})
    if cuts_spaces:
        steps += [_replace({"Regex": r"\A +| +\z"}, ""), _replace({"Regex": " {2,}"}, " ")]
    if has_prefix:
        steps.append({"type": "Prepend", "prepend": _SPACE})
    return [*steps, _replace({"String": " "}, _SPACE)]


def _decoders(has_prefix: bool) -> list[dict[str, Any]]:
    steps = [_replace({"String": _SPACE}, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    return [*steps, {"type": "Strip", "content": " ", "start": 1, "stop": 0}] if has_prefix else steps


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _fields(message: bytes) -> _Fields:
    """The fields of a protobuf message. Raises ValueError if it is none."""
    fields: _Fields = defaultdict(list)
    try:
        for number, value in _read(message):
            fields[number].append(value)
    except IndexError:
        raise ValueError("it ends within a field") from None
    return fields


def _read(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _LENGTH:
            size, at = _varint(message, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError("it is not a SentencePiece model")
        if at + size > len(message):
            raise IndexError
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, and where the next field begins."""
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | message[at] << shift, at + 1
