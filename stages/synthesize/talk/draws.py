"""Draws by the hash of a key, one after another."""

from collections.abc import Sequence
from typing import TypeVar

from schemas.hashing import hash_fraction, hash_integer

Item = TypeVar("Item")


class Draws:
    """The same key draws the same, in every process and version of Python."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._drawn = 0

    def _next(self) -> str:
        self._drawn += 1
        return f"{self._key} {self._drawn}"

    def one(self, items: Sequence[Item]) -> Item:
        return items[hash_integer(self._next()) % len(items)]

    def integer(self, first: int, last: int) -> int:
        """An integer from `first` to `last`, both included."""
        return self.one(range(first, last + 1))

    def weighted(self, weights: dict[str, float]) -> str:
        """A name, as often as its weight says."""
        left = hash_fraction(self._next()) * sum(weights.values())
        for name, weight in weights.items():
            left -= weight
            if left < 0:
                return name
        return name
