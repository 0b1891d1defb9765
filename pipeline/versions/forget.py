"""Removal on request: a recording is forgotten by all versions to come, then by all that were.

A tombstone keeps it out of every later build. Once the latest version doesn't hold it, the versions
that do are deleted whole, with the annotations of its unit, its files where it was synthesised, and all
caches, kept replies of servers among them. The tombstone has only a hash of the recording's id, so that it
says nothing itself.
"""

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.inputs.listing import Listing
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.gc import version_files
from pipeline.versions.leases import leased
from pipeline.versions.reader import LATEST, Version, batches, tags_of, version_at, version_ids
from schemas.errors import SetupError
from schemas.turn import recording_key
from stages.synthesize.cost import Replies

_REQUESTS = 16


@dataclass(frozen=True)
class ContainingVersion:
    """What one version holds of some recordings."""

    version: str
    tags: tuple[str, ...]
    recordings: tuple[str, ...]
    turns: int
    samples: int
    trainings: tuple[str, ...]
    """What was made from the version, such as training runs."""


def versions_containing(dataset: Store, recordings: Sequence[str]) -> list[ContainingVersion]:
    """The versions that hold any of some recordings, used or set aside."""
    tags = tags_of(dataset)
    found = []
    for id in version_ids(dataset):
        version = version_at(dataset, id)
        counts = {name: _rows(version, name, recordings) for name in ("turns", "set_aside", "index")}
        held = {recording for rows in counts.values() for recording in rows}
        if held:
            mine = tuple(tag for tag in tags if tags[tag] == id)
            turns, samples = sum(counts["turns"].values()), sum(counts["index"].values())
            made = tuple(item.path.rpartition("/")[2] for item in dataset.list(layout.lineage(id)))
            found.append(ContainingVersion(id, mine, tuple(sorted(held)), turns, samples, made))
    return found


def _rows(version: Version, name: str, recordings: Sequence[str]) -> dict[str, int]:
    """Recording -> its rows in one of a version's tables."""
    counts: dict[str, int] = {}
    with version.table(name) as table:  # type: ignore[arg-type]
        for batch in batches(table, ["recording"], pc.field("recording").isin(list(recordings))):
            for recording in batch["recording"].to_pylist():
                counts[recording] = counts.get(recording, 0) + 1
    return counts


def forgotten(dataset: Store) -> frozenset[str]:
    """Keys of the recordings that no build may take."""
    keys = (layout.parse_tombstone(item.path) for item in dataset.list(layout.FORGOTTEN))
    return frozenset(key for key in keys if key)


def without_forgotten(listing: Listing, dataset: Store) -> Listing:
    """A listing without what was forgotten. Raises SetupError where nothing is left."""
    keys = forgotten(dataset)
    if not keys:
        return listing
    left = tuple(r for r in listing.recordings if recording_key(r.id) not in keys)
    if not left:
        raise SetupError(f"all recordings of the inputs have been forgotten in {dataset.uri}")
    return replace(listing, recordings=left)


def tombstone(dataset: Store, recordings: Iterable[str]) -> None:
    """Write the tombstones."""
    for recording in recordings:
        said = {"since": datetime.now(UTC).isoformat(timespec="seconds")}
        dataset.put_new(layout.tombstone(recording_key(recording)), json.dumps(said).encode())


def purge(dataset: Store, recordings: Sequence[str]) -> list[str]:
    """Delete every byte that says anything of buried recordings; the paths that went.

    Raises SetupError while a build runs, where the latest version still holds one of them, or where
    another tag means a version that does.
    """
    with leased(dataset, "removal"):
        held = versions_containing(dataset, recordings)
        for version in held:
            if LATEST in version.tags:
                raise SetupError(
                    f"the latest version {version.version} holds what is to go: build its successor first"
                )
            if version.tags:
                raise SetupError(
                    f"the tag {version.tags[0]} means version {version.version}, which holds what is to go: "
                    f"move it first, as by `aqaa-data versions tag {dataset.uri}@latest {version.tags[0]}`"
                )
        gone: list[str] = []
        for version in held:
            gone += version_files(version.version, list(dataset.list(layout.version(version.version)))).paths
        ids = {version.version for version in held}
        for item in dataset.list(layout.PLANS):
            if json.loads(dataset.get(item.path))["version"] in ids:
                gone.append(item.path)
        for folder in layout.CACHES:
            gone += [item.path for item in dataset.list(folder)]
        for folder in layout.REPLIES:
            gone += Replies(dataset, folder).discarded()
        gone += _synthesised(dataset, recordings)
        gone += _annotations(dataset, frozenset(recordings))
        dataset.delete(gone)
    return gone


def _synthesised(dataset: Store, recordings: Sequence[str]) -> list[str]:
    """The files of those recordings that were synthesised, in whatever settings."""
    names = tuple(id.rpartition("/")[2] for id in recordings if id.startswith(f"{layout.SYNTHESIS}/"))
    files = dataset.list(layout.SYNTHESIS) if names else ()
    return [item.path for item in files if item.path.rpartition("/")[2].startswith(names)]


def _annotations(dataset: Store, recordings: frozenset[str]) -> list[str]:
    """The ledger files that have a row of any of some recordings."""

    def holds(path: str) -> bool:
        ids = pq.read_table(BytesIO(dataset.get(path)), columns=["id"])["id"].to_pylist()
        return not recordings.isdisjoint(ids)

    paths = [item.path for item in dataset.list(layout.ANNOTATIONS)]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return [path for path, found in zip(paths, pool.map(holds, paths), strict=True) if found]
