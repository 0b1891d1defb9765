"""Which documents of the validation side a run measures its loss on, the same ones every time."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from schemas.errors import SetupError
from stages.train.config import TrainConfig
from stages.train.documents import Documents
from stages.train.packed import PackedDocuments
from stages.train.packing import pack, sequences_of

_SEED = 0
"""Not the run's: runs with other seeds are measured on the same documents."""


@dataclass(frozen=True)
class HeldOut:
    """The sequences that are measured."""

    packed: PackedDocuments
    sequences: int

    @property
    def families(self) -> list[str]:
        index = self.packed.documents.index
        return sorted(pc.unique(index["family"].take(self.packed.entries)).to_pylist())

    def batches(self, size: int, multiple: int) -> Iterator[list[int | None]]:
        """Numbers of the sequences in batches of `size`; the last one is filled up with None, which is
        padding, to a multiple."""
        for first in range(0, self.sequences, size):
            numbers = sequences_of(first // size, size, self.packed.packing.sequences, _SEED)
            numbers = numbers[: self.sequences - first]
            yield [*numbers, *[None] * (-len(numbers) % multiple)]


def held_out(documents: Documents | None, config: TrainConfig, vocabulary: Mapping[str, Any]) -> HeldOut:
    """Raises SetupError if there is nothing to measure."""
    assert config.validation is not None
    matching = 0
    if documents is not None:
        equal_texts = not config.preference.mask_audio
        entries = documents.chosen(config.objective == "dpo", config.families, equal_texts)
        packing = pack(documents.lengths[entries], config.sequence_length, _SEED)
        matching = len(entries)
        if packing.sequences:
            packed = PackedDocuments(
                documents, entries, packing, config.sequence_length, vocabulary["specials"]["pad"]
            )
            most = config.validation.batches or math.inf
            return HeldOut(packed, int(min(packing.sequences, most * config.global_batch_size)))
    raise SetupError(
        f"`validation`: {matching:,} documents of the version's validation side match the run's objective "
        f"and families, and none of them fits into {config.sequence_length:,} tokens. Build the version with "
        "`shard.validation_share` above 0, or remove `validation`"
    )
