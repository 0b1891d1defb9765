"""Duplicates of items that were decided on before, and of which only sketches are left.

Sketches are compared as `duplicates` compares signatures, block by block: all are never in memory at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.hashing import hash_integer
from stages.select.duplicates import BAND_ROWS, MAX_NEIGHBOURS, PERMUTATIONS, Item

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Sketches:
    """What is compared of some items."""

    contents: NDArray[np.uint64]
    """64 bits of a hash of each content [items]."""
    signed: Positions
    """Positions of the items that have a signature, ascending [signed]."""
    signatures: NDArray[np.uint8]
    """The lowest byte of each value of their signatures [signed, 128]. Of values that differ, one in 256
    agrees, so that similarities are estimated higher by up to 0.002."""

    @property
    def bands(self) -> NDArray[np.uint32]:
        """The bands of each signature as numbers: two are compared if one is equal [signed, 32]."""
        return np.ascontiguousarray(self.signatures).view(np.dtype(f"u{BAND_ROWS}"))


def sketches(items: Sequence[Item]) -> Sketches:
    signed = [(n, item.signature) for n, item in enumerate(items) if item.signature is not None]
    signatures = np.empty((len(signed), PERMUTATIONS), np.uint8)
    for row, (_, signature) in enumerate(signed):
        signatures[row] = signature.astype(np.uint8)  # the lowest byte of each
    contents = np.array([hash_integer(item.content) for item in items], np.uint64)
    return Sketches(contents, np.array([n for n, _ in signed], np.int64), signatures)


class SketchIndex:
    """Some items, to be looked up in many blocks of others. It takes 400 bytes for each."""

    def __init__(self, items: Sequence[Item], similarity: float) -> None:
        self._own = sketches(items)
        self._similarity = similarity
        self._contents = _ordered(self._own.contents)
        self._bands = [_ordered(band) for band in self._own.bands.T]

    def duplicates(self, others: Sketches) -> Iterator[tuple[int, int]]:
        """(item, the first of the others with equal or similar content), as positions, for each duplicate."""
        none = len(others.contents)
        first = np.full(len(self._own.contents), none)
        for own, other in _equal(self._contents, _ordered(others.contents)):
            same = self._own.contents[own] == others.contents[other]
            np.minimum.at(first, own[same], other[same])
        for band, numbers in zip(self._bands, others.bands.T, strict=True):
            for own, other in _equal(band, _ordered(numbers)):
                alike = (self._own.signatures[own] == others.signatures[other]).mean(axis=1)
                close = alike >= self._similarity
                np.minimum.at(first, self._own.signed[own[close]], others.signed[other[close]])
        found = np.flatnonzero(first < none)
        return zip(found.tolist(), first[found].tolist(), strict=True)


_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)


def _ordered(numbers: NDArray[np.uint32] | NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The lower halves of numbers, ascending, each before its position: faster than sorting positions."""
    positions = np.arange(len(numbers), dtype=np.uint64)
    return np.sort(numbers.astype(np.uint64) << _HALF | positions)


def _equal(own: NDArray[np.uint64], others: NDArray[np.uint64]) -> Iterator[tuple[Positions, Positions]]:
    """Positions of equal numbers, here and among others: of each of the others with the first 32 here."""
    at = np.searchsorted(own, others & ~_LOW)
    for _ in range(MAX_NEIGHBOURS):
        inside = at < len(own)
        at, others = at[inside], others[inside]
        same = (own[at] ^ others) <= _LOW
        at, others = at[same], others[same]
        if not len(at):
            return
        yield (own[at] & _LOW).astype(np.int64), (others & _LOW).astype(np.int64)
        at = at + 1
