"""Text ids as the bytes that they represent, so that a text never ends within a character."""

import codecs
import json
import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.vocabulary import SPECIALS, Modality, Vocabulary

Numbers = NDArray[np.int64]

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_CONTINUATION = range(0x80, 0xC0)
"""Bytes of a character after its first byte."""


class Spelling:
    """Which text ids may follow, so that the whole text is valid UTF-8."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._bytes = text_bytes(vocabulary)
        ids = sorted(self._bytes)
        self._first = np.array([id for id in ids if rest_of(self._bytes[id]) is not None], np.int64)
        """Ids that begin with a complete character or with its first byte."""
        self._within = [id for id in ids if self._bytes[id][0] in _CONTINUATION]
        self.after = lru_cache(maxsize=4096)(self._after)
        self.completing = lru_cache(maxsize=4096)(self._completing)

    def bytes_of(self, id: int) -> bytes:
        return self._bytes[id]

    def rest(self, half: bytes, id: int) -> bytes:
        """The unfinished character (b"": none) after appending an id to one."""
        rest = rest_of(half + self._bytes[id])
        if rest is None:
            raise ValueError(f"the bytes of {id} don't continue {half!r}")
        return rest

    def _after(self, half: bytes) -> Numbers:
        """Ids that may follow an unfinished character (b"": none)."""
        if not half:
            return self._first
        return np.array([id for id in self._within if rest_of(half + self._bytes[id]) is not None], np.int64)

    def _completing(self, half: bytes) -> Numbers:
        """Ids that continue an unfinished character and don't begin another."""
        ids = self._after(half)
        return np.array([id for id in ids if all(b in _CONTINUATION for b in self._bytes[id])], np.int64)


@lru_cache(maxsize=2)
def spelling_of(vocabulary: Vocabulary) -> Spelling:
    """Cached per vocabulary, because building it reads every entry."""
    return Spelling(vocabulary)


def rest_of(sequence: bytes) -> bytes | None:
    """The unfinished character at the end of some bytes (b"": none); None if they are not valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(sequence)
    except UnicodeDecodeError:
        return None
    rest = decoder.getstate()[0]
    surrogate = rest[:1] == b"\xed" and rest[1:] >= b"\xa0"  # the decoder rejects it only with the next byte
    return None if surrogate else rest


def text_bytes(vocabulary: Vocabulary) -> dict[int, bytes]:
    """Bytes of every id that text can consist of. Entries of a byte-level tokenizer are bytes; those of
    others are complete characters, or single bytes for byte fallback."""
    document = json.loads(vocabulary.tokenizer_json)
    model = document["model"]
    vocab = model["vocab"]
    entries = vocab.items() if isinstance(vocab, dict) else ((token, n) for n, (token, _) in enumerate(vocab))
    byte_level = "ByteLevel" in json.dumps(document.get("decoder"))
    reachable = _reachable_entries(model)
    markers = {getattr(vocabulary, special) for special in SPECIALS}
    pieces = {}
    for token, id in entries:
        if (
            not token
            or id in markers
            or token == model.get("unk_token")
            or (reachable and token not in reachable)
        ):
            continue
        if byte_level:
            if all(letter in _BYTE_OF for letter in token):
                pieces[id] = bytes(_BYTE_OF[letter] for letter in token)
        else:
            byte = _BYTE.fullmatch(token)
            pieces[id] = bytes([int(byte[1], 16)]) if byte else token.encode()
    codes = vocabulary.modality(np.array(list(pieces))) != Modality.TEXT
    return {id: piece for (id, piece), is_code in zip(pieces.items(), codes, strict=True) if not is_code}


def _reachable_entries(model: dict) -> set[str] | None:
    """Entries of a BPE that its merges produce: others, such as names of markers, are never text."""
    if model.get("type", "BPE") != "BPE" or model.get("ignore_merges"):
        return None
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    letters = (token for token in model["vocab"] if len(token) == 1 or _BYTE.fullmatch(token))
    return {*letters, *("".join(pair) for pair in pairs)}


def _letters_of_bytes() -> dict[str, int]:
    """Letter -> byte in byte-level tokenizers: printable bytes are themselves, the others are 256 and up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _letters_of_bytes()
