"""Packs documents into sequences of one length, and assigns sequences to steps.

Both depend only on lengths and seed, so that a run can stop and resume at any step, on any number of
processes.
"""

import bisect
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

OPEN_SEQUENCES = 512
"""Sequences that are filled at the same time."""


@dataclass(frozen=True)
class Packing:
    """Which documents are in which sequence. Sequence s holds `order[starts[s] : starts[s + 1]]`."""

    order: Numbers
    starts: Numbers
    left_out: Numbers
    """Documents longer than a sequence."""

    @property
    def sequences(self) -> int:
        return len(self.starts) - 1

    def documents(self, sequence: int) -> Numbers:
        return self.order[self.starts[sequence] : self.starts[sequence + 1]]

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, order=self.order, starts=self.starts, left_out=self.left_out)

    @classmethod
    def load(cls, path: Path) -> "Packing":
        with np.load(path) as saved:
            return cls(saved["order"], saved["starts"], saved["left_out"])


def pack(lengths: Numbers, sequence_length: int, seed: int) -> Packing:
    """Put each document, in an order drawn from the seed, into the open sequence that it fills best.

    Documents are never cut. Time and memory per document don't grow with the number of documents.
    """
    drawn = np.random.default_rng([seed, 0]).permutation(len(lengths))
    sequences: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    """(tokens left, sequence number) of the open sequences, sorted."""
    for document in drawn.tolist():
        length = int(lengths[document])
        if length > sequence_length:
            continue
        at = bisect.bisect_left(rooms, (length, -1))
        if at < len(rooms):
            room, number = rooms.pop(at)
        else:
            room, number = sequence_length, len(sequences)
            sequences.append([])
            if len(rooms) == OPEN_SEQUENCES:
                rooms.pop(0)  # the fullest
        sequences[number].append(document)
        bisect.insort(rooms, (room - length, number))
    order = np.array([document for sequence in sequences for document in sequence], np.int64)
    starts = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
    return Packing(order, starts, np.flatnonzero(lengths > sequence_length))


def sequences_of(step: int, batch: int, sequences: int, seed: int) -> list[int]:
    """Numbers of the `batch` sequences of a step, from 0. Each epoch sees every sequence once, in its
    own order; a step may end one epoch and begin the next."""
    first = step * batch
    return [int(_epoch(p // sequences, sequences, seed)[p % sequences]) for p in range(first, first + batch)]


@lru_cache(maxsize=2)
def _epoch(epoch: int, sequences: int, seed: int) -> Numbers:
    return np.random.default_rng([seed, 1, epoch]).permutation(sequences)
