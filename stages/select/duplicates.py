"""Duplicate recordings and texts, detected by MinHash (Broder, 1997).

Of a set of duplicates the one with the lowest content hash is kept, whatever their order.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.turn import AnnotatedTurn
from stages.select.words import words_of
from stages.stage import Config

PERMUTATIONS = 128
BAND_ROWS = 4
"""Two items are compared if all values of one band of this size agree. At a similarity of 0.7, one pair
in 6,000 is missed."""

MAX_NEIGHBOURS = 32
"""Maximum number of items of the same bucket that each item is compared with."""

Signature = NDArray[np.uint32]


class DuplicatesConfig(Config):
    """Removal of duplicates; off by default."""

    recordings: bool = Field(
        False,
        description="set aside copies of a recording, with equal bytes or the same words at the same times",
    )
    texts: bool = Field(
        False, description="set aside turns and texts with nearly the same words as another one"
    )
    similarity: float = Field(
        0.8,
        gt=0.5,
        le=1,
        description="minimum Jaccard similarity of the word triples of duplicates, 0.5 to 1",
    )
    words_min: int = Field(
        8,
        ge=3,
        description="minimum number of words; shorter texts are never duplicates, as people often say the "
        "same short things",
    )


@dataclass(frozen=True)
class Item:
    """A recording or a text to be compared with others."""

    name: str
    content: str
    """Hash of the content; items with equal hashes are duplicates."""
    signature: Signature | None
    """MinHash [128]; None if there are too few words to compare."""


def recording_item(name: str, sha256: str, turns: Iterable[AnnotatedTurn], words_min: int) -> Item:
    """An item for the bytes of a recording and its timed words, which do not depend on the audio format."""
    words = [
        (word.start, text)
        for turn in turns
        if turn.transcript
        for word in turn.transcript.words
        for text in words_of(word.text)
    ]
    words.sort()
    triples = (f"{a} {b} {c} {int(at // _TIME_BIN)}" for (at, a), (_, b), (_, c) in _triples(words))
    return Item(name, sha256, signature(triples) if len(words) >= words_min else None)


_TIME_BIN = 4.0
"""Seconds; words in the same bin count as spoken at the same time."""


def text_item(name: str, text: str, words_min: int) -> Item | None:
    """An item for the words of a text; None if there are fewer than `words_min`."""
    words = words_of(text)
    if len(words) < words_min:
        return None
    content = hashlib.sha256(" ".join(words).encode("utf-8", "replace")).hexdigest()
    return Item(name, content, signature(" ".join(triple) for triple in _triples(words)))


def signature(features: Iterable[str]) -> Signature:
    """MinHash [128] of a set of features. The share of equal values in two signatures estimates the Jaccard
    similarity of their sets."""
    hashed = [
        hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest() for feature in features
    ]
    values = np.unique(np.frombuffer(b"".join(hashed), np.uint64))
    lowest = np.full(PERMUTATIONS, np.iinfo(np.uint64).max, np.uint64)
    for first in range(0, len(values), 4096):
        mixed = _mix(values[first : first + 4096, None] ^ _SEEDS[None, :])
        lowest = np.minimum(lowest, mixed.min(axis=0))
    return (lowest >> np.uint64(32)).astype(np.uint32)


def duplicates(items: Sequence[Item], similarity: float) -> dict[str, str]:
    """Name of each duplicate -> name of the item that is kept."""
    ordered = sorted(items, key=lambda item: (item.content, item.name))
    parent = list(range(len(ordered)))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for a, b in _similar_pairs(ordered, similarity):
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {item.name: ordered[root(n)].name for n, item in enumerate(ordered) if root(n) != n}


def _similar_pairs(ordered: Sequence[Item], similarity: float) -> Iterator[tuple[int, int]]:
    """Pairs of positions of similar items."""
    for n in range(1, len(ordered)):
        if ordered[n].content == ordered[n - 1].content:
            yield n - 1, n
    signed = [(n, item.signature) for n, item in enumerate(ordered) if item.signature is not None]
    if not signed:
        return
    positions = np.array([n for n, _ in signed])
    signatures = np.stack([signature for _, signature in signed])
    for first in range(0, PERMUTATIONS, BAND_ROWS):
        band = np.ascontiguousarray(signatures[:, first : first + BAND_ROWS])
        keys = band.view(np.dtype((np.void, band.itemsize * BAND_ROWS))).ravel()
        _, bucket = np.unique(keys, return_inverse=True)
        order = np.argsort(bucket, kind="stable")
        for back in range(1, min(MAX_NEIGHBOURS, len(order) - 1) + 1):
            a, b = order[:-back], order[back:]
            same = bucket[a] == bucket[b]
            if not same.any():
                break
            a, b = a[same], b[same]
            close = (signatures[a] == signatures[b]).mean(axis=1) >= similarity
            yield from zip(positions[a[close]].tolist(), positions[b[close]].tolist(), strict=True)


def _triples(items: Sequence) -> Iterator[tuple]:
    return zip(items, items[1:], items[2:], strict=False)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64, a bijection that scrambles all bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_SEEDS = _mix(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
