"""Recordings and texts that are there more than once, told by MinHash (Broder, 1997).

Of those that are alike the one with the lowest content hash survives, in whatever order they come.
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
BAND = 4
"""Values of a signature that must agree for two to be compared: at a similarity of 0.7 that is missed once in
6,000 times."""

NEIGHBOURS = 32
"""In a band that many share, each is compared with so many before it."""

Signature = NDArray[np.uint32]


class DuplicatesConfig(Config):
    """What is there more than once; all off by default."""

    recordings: bool = Field(
        False, description="set aside copies of a recording: equal bytes, or the same words at the same times"
    )
    texts: bool = Field(
        False, description="set aside turns and texts whose words are nearly those of another"
    )
    similarity: float = Field(
        0.8, gt=0.5, le=1, description="least share of word triples in common (Jaccard), 0.5..1"
    )
    words_min: int = Field(
        8, ge=3, description="texts with fewer words are never duplicates: people say the same short things"
    )


@dataclass(frozen=True)
class Item:
    """A recording or a text to compare."""

    name: str
    content: str
    """Hash of what it holds; equal ones are duplicates."""
    signature: Signature | None
    """[128]; None where it has too few words to be compared."""


def recording_item(name: str, sha256: str, turns: Iterable[AnnotatedTurn], words_min: int) -> Item:
    """A recording by its bytes, and by its words at their times, which another format leaves as they are."""
    words = [
        (word.start, text)
        for turn in turns
        if turn.transcript
        for word in turn.transcript.words
        for text in words_of(word.text)
    ]
    words.sort()
    triples = (f"{a} {b} {c} {int(at // _WITHIN)}" for (at, a), (_, b), (_, c) in _triples(words))
    return Item(name, sha256, signature(triples) if len(words) >= words_min else None)


_WITHIN = 4.0
"""Seconds: words that fall into the same stretch are said at the same time."""


def text_item(name: str, text: str, words_min: int) -> Item | None:
    """A text by its words; None for one of too few."""
    words = words_of(text)
    if len(words) < words_min:
        return None
    content = hashlib.sha256(" ".join(words).encode("utf-8", "replace")).hexdigest()
    return Item(name, content, signature(" ".join(triple) for triple in _triples(words)))


def signature(features: Iterable[str]) -> Signature:
    """MinHash of a set of features: the share of equal values of two estimates their Jaccard similarity."""
    hashed = [
        hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest() for feature in features
    ]
    values = np.unique(np.frombuffer(b"".join(hashed), np.uint64))
    lowest = np.full(PERMUTATIONS, np.iinfo(np.uint64).max, np.uint64)
    for first in range(0, len(values), 4096):
        mixed = _mixed(values[first : first + 4096, None] ^ _SEEDS[None, :])
        lowest = np.minimum(lowest, mixed.min(axis=0))
    return (lowest >> np.uint64(32)).astype(np.uint32)


def duplicates(items: Sequence[Item], similarity: float) -> dict[str, str]:
    """Name of each duplicate -> name of the one that survives."""
    ordered = sorted(items, key=lambda item: (item.content, item.name))
    parent = list(range(len(ordered)))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for a, b in _alike(ordered, similarity):
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {item.name: ordered[root(n)].name for n, item in enumerate(ordered) if root(n) != n}


def _alike(ordered: Sequence[Item], similarity: float) -> Iterator[tuple[int, int]]:
    """Pairs of positions whose items are alike."""
    for n in range(1, len(ordered)):
        if ordered[n].content == ordered[n - 1].content:
            yield n - 1, n
    signed = [(n, item.signature) for n, item in enumerate(ordered) if item.signature is not None]
    if not signed:
        return
    positions = np.array([n for n, _ in signed])
    signatures = np.stack([signature for _, signature in signed])
    for first in range(0, PERMUTATIONS, BAND):
        band = np.ascontiguousarray(signatures[:, first : first + BAND])
        keys = band.view(np.dtype((np.void, band.itemsize * BAND))).ravel()
        _, bucket = np.unique(keys, return_inverse=True)
        order = np.argsort(bucket, kind="stable")
        for back in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
            a, b = order[:-back], order[back:]
            same = bucket[a] == bucket[b]
            if not same.any():
                break
            a, b = a[same], b[same]
            close = (signatures[a] == signatures[b]).mean(axis=1) >= similarity
            yield from zip(positions[a[close]].tolist(), positions[b[close]].tolist(), strict=True)


def _triples(items: Sequence) -> Iterator[tuple]:
    return zip(items, items[1:], items[2:], strict=False)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection that leaves no trace of order (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_SEEDS = _mixed(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
