"""Units: the pieces of the listing that are processed, resumed and committed as a whole.

Boundaries are content-defined: the hash of a path decides whether a unit ends there. Adding or removing a
recording changes only its own unit and keeps the committed work of all others.
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
        """Hash of the relative paths of its recordings."""
        return _hash([r.id for r in self.recordings])

    @cached_property
    def content(self) -> str:
        """Hash of what determines the annotations besides the recipe: sizes, tags and companions.

        Without the sidecars, which are read when a group is packed.
        """
        return _hash(
            [[r.id, r.bytes, r.etag, [[c.kind, c.etag] for c in r.companions]] for r in self.recordings]
        )

    @property
    def name(self) -> str:
        """The name of the unit's files in the ledger."""
        return f"{self.id}-{self.content[:12]}"

    @cached_property
    def sidecars(self) -> str:
        """The path of the ledger's copy of the unit's sidecars; empty if it has none."""
        tags = [[r.id, sidecar.etag] for r in self.recordings if (sidecar := r.sidecar)]
        return layout.sidecars(self.id, _hash(tags)[:12]) if tags else ""

    @cached_property
    def places(self) -> str:
        """Hash of where its recordings are."""
        return _hash([r.uri for r in self.recordings])

    @property
    def bytes(self) -> int:
        return sum(r.bytes for r in self.recordings)


def cut(recordings: Iterable[ListedRecording], config: UnitsConfig) -> Iterator[PlannedUnit]:
    """The units of a sorted listing, each with at least one recording."""
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
