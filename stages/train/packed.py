"""Documents in packed sequences, as batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stages.train.batch import Batch, batch_of
from stages.train.documents import Document, Documents
from stages.train.packing import Packing
from stages.train.read_ahead import read_ahead


@dataclass(frozen=True)
class PackedDocuments:
    documents: Documents
    entries: NDArray
    """Numbers of the documents that are packed."""
    packing: Packing
    length: int
    """Tokens of a sequence."""
    pad: int
    """Id that fills sequences up."""

    def batches(self, numbers: Sequence[int | None], size: int) -> Iterator[Batch]:
        """Batches of `size` of the numbered sequences; None is a sequence of padding."""
        parts = [numbers[first : first + size] for first in range(0, len(numbers), size)]
        return read_ahead(self._batch, parts)

    def _batch(self, numbers: Sequence[int | None]) -> Batch:
        return batch_of([self._read(number) for number in numbers], self.length, self.pad)

    def _read(self, number: int | None) -> list[Document]:
        if number is None:
            return []
        return self.documents.read(self.entries[self.packing.documents(number)])

    def entries_of(self, numbers: Sequence[int]) -> NDArray:
        """Numbers of the documents of some sequences."""
        packed = np.concatenate([self.packing.documents(number) for number in numbers])
        return cast(NDArray, self.entries[packed])
