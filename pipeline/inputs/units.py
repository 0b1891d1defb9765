"""Units: the listing cut into the pieces that are worked on, resumed and committed as a whole.

Cuts are content-defined: a unit ends where the hash of a path says so. So a recording that comes or
goes changes the unit that it falls into and leaves all others, with their committed work, as they are.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pipeline.config.recipe import UnitsConfig
from pipeline.inputs.listing import ListedRecording
from pipeline.storage import dataset_layout as layout
from schemas.hashing import hash_fraction


@dataclass(frozen=True)
class PlannedUnit:
    recordings: tuple[ListedRecording, ...]

    @cached_property
    def id(self) -> str:
        """Hash of the relative paths: the same while the same recordings fall together."""
        return _hash([r.id for r in self.recordings])

    @cached_property
    def content(self) -> str:
        """Hash of what decides the annotation besides the recipe: sizes, tags, files beside.

        Not what a sidecar says, which is read when samples are made.
        """
        return _hash(
            [[r.id, r.bytes, r.etag, [[c.kind, c.etag] for c in r.companions]] for r in self.recordings]
        )

    @property
    def name(self) -> str:
        """Name of the unit's files in the ledger."""
        return f"{self.id}-{self.content[:12]}"

    @cached_property
    def sidecars(self) -> str:
        """Where the ledger keeps what the unit's sidecars say; empty where it has none."""
        tags = [[r.id, sidecar.etag] for r in self.recordings if (sidecar := r.sidecar)]
        return layout.sidecars(self.id, _hash(tags)[:12]) if tags else ""

    @property
    def bytes(self) -> int:
        return sum(r.bytes for r in self.recordings)


def cut(recordings: Iterable[ListedRecording], config: UnitsConfig) -> Iterator[PlannedUnit]:
    """Units of a sorted listing, each holding at least one recording."""
    unit: list[ListedRecording] = []
    size = 0
    for recording in recordings:
        if unit and size + recording.bytes > config.megabytes * 1_000_000:
            yield PlannedUnit(tuple(unit))
            unit, size = [], 0
        unit.append(recording)
        size += recording.bytes
        if hash_fraction(recording.id) * config.recordings < 1 or len(unit) == 4 * config.recordings:
            yield PlannedUnit(tuple(unit))
            unit, size = [], 0
    if unit:
        yield PlannedUnit(tuple(unit))


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()[:16]
