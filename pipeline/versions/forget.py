"""Removal on request: a recording is left out of all future versions, then removed from all existing ones.

A tombstone keeps it out of every later build. Once the latest version doesn't contain it, the versions that
do are deleted whole, with the annotations of its unit, its files if it was synthesized, all caches and all
stored replies of servers, and its decoded audio in the default scratch directory of this machine. Decoded
audio on other machines, or in a recipe's `scratch`, is deleted by the build that decoded it; if that build
was killed, by the next build there when it has not been used for a week. The tombstone has only a hash of
the recording's id.
"""

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.inputs.listing import Listing, NoRecordingsError
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.gc import (
    heads_of,
    is_partition,
    plan_files,
    use_paths,
    version_files,
    version_of_plan,
    whole_of,
)
from pipeline.versions.leases import leased
from pipeline.versions.reader import LATEST, Version, batches, tags_of, version_at, version_ids
from schemas.errors import SetupError
from schemas.turn import recording_key
from stages.replies import Replies

_REQUESTS = 16


@dataclass(frozen=True)
class ContainingVersion:
    """A version that contains some of the recordings in question."""

    version: str
    tags: tuple[str, ...]
    recordings: tuple[str, ...]
    turns: int
    samples: int
    trainings: tuple[str, ...]
    """What was made from the version, such as training runs."""


def versions_containing(dataset: Store, recordings: Sequence[str]) -> list[ContainingVersion]:
    """The versions that contain any of the recordings, used or set aside."""
    tags = tags_of(dataset)
    containing = []
    for id in version_ids(dataset):
        version = version_at(dataset, id)
        counts = {name: _rows(version, name, recordings) for name in ("turns", "set_aside", "index")}
        contained = {recording for rows in counts.values() for recording in rows}
        if contained:
            tags_here = tuple(tag for tag in tags if tags[tag] == id)
            turns, samples = sum(counts["turns"].values()), sum(counts["index"].values())
            made = tuple(path.rpartition("/")[2] for path in use_paths(dataset, id))
            recordings_here = tuple(sorted(contained))
            containing.append(ContainingVersion(id, tags_here, recordings_here, turns, samples, made))
    return containing


def _rows(version: Version, name: str, recordings: Sequence[str]) -> dict[str, int]:
    """Recording -> number of its rows in one of a version's tables."""
    counts: dict[str, int] = {}
    with version.table(name) as table:  # type: ignore[arg-type]
        for batch in batches(table, ["recording"], pc.field("recording").isin(list(recordings))):
            for recording in batch["recording"].to_pylist():
                counts[recording] = counts.get(recording, 0) + 1
    return counts


def forgotten(dataset: Store) -> frozenset[str]:
    """Keys of the recordings that no build may use."""
    keys = (layout.parse_tombstone(item.path) for item in dataset.list(layout.FORGOTTEN))
    return frozenset(key for key in keys if key)


def without_forgotten(listing: Listing, dataset: Store) -> Listing:
    """A listing without the forgotten recordings. Raises NoRecordingsError if nothing is left."""
    keys = forgotten(dataset)
    if not keys:
        return listing
    left = tuple(r for r in listing.recordings if recording_key(r.id) not in keys)
    if not left:
        raise NoRecordingsError(f"all recordings of the inputs have been forgotten in {dataset.uri}")
    return replace(listing, recordings=left)


def tombstone(dataset: Store, recordings: Iterable[str]) -> None:
    """Keep recordings out of all later builds."""
    for recording in recordings:
        content = {"since": datetime.now(UTC).isoformat(timespec="seconds")}
        dataset.put_new(layout.tombstone(recording_key(recording)), json.dumps(content).encode())


def purge(dataset: Store, recordings: Sequence[str]) -> list[str]:
    """Delete all that is stored of recordings that have a tombstone. Returns the paths that were deleted.

    Raises SetupError while a build is running, if the latest version still contains one of them, or if
    another tag refers to a version that does.
    """
    with leased(dataset, "removal"):
        containing = versions_containing(dataset, recordings)
        whole, heads = _heads(dataset, containing)
        for version in containing:
            # Of a partition, whether the version of all has it counts.
            if LATEST in version.tags and not is_partition(dataset):
                raise SetupError(
                    f"the latest version {version.version} contains them: build a version without them first"
                )
            if others := [tag for tag in version.tags if tag != LATEST]:
                tag = others[0]
                raise SetupError(
                    f"the tag {tag} refers to version {version.version}, which contains them: move it first, "
                    f"for example with `aqaa-data versions tag {dataset.uri}@latest {tag}`"
                )
        deleted: list[str] = []
        for version in containing:
            deleted += version_files(
                version.version, list(dataset.list(layout.version(version.version)))
            ).paths
        ids = {version.version for version in containing}
        deleted += [item.path for item in plan_files(dataset) if version_of_plan(dataset, item) in ids]
        for folder in layout.CACHES:
            deleted += [item.path for item in dataset.list(folder)]
        for folder in layout.REPLIES:
            deleted += Replies(dataset, folder).discarded()
        deleted += _synthesized(dataset, recordings)
        annotations, files = _annotations(dataset, frozenset(recordings))
        # The spools first: without the annotations nobody knows their names.
        _delete_spools(files)
        deleted += annotations
        for id in heads:
            whole.delete(version_files(id, list(whole.list(layout.version(id)))).paths)
        dataset.delete(deleted)
    return deleted


def _heads(dataset: Store, containing: Sequence[ContainingVersion]) -> tuple[Store, list[str]]:
    """The dataset of a partition, and its versions that have one of these: they go with them.

    Raises SetupError if one of them has a tag.
    """
    whole = whole_of(dataset)
    heads = sorted({head for version in containing for head in heads_of(dataset, version.version)})
    tags = tags_of(whole) if heads else {}
    for tag, id in tags.items():
        if id in heads:
            remedy = "build it without them first" if tag == LATEST else "move the tag first"
            raise SetupError(
                f"the version {id} of {whole.uri}, which is tagged {tag}, contains them: {remedy}"
            )
    return whole, heads


def _synthesized(dataset: Store, recordings: Sequence[str]) -> list[str]:
    """The files of those recordings that were synthesized, with any settings."""
    names = tuple(id.rpartition("/")[2] for id in recordings if id.startswith(f"{layout.SYNTHESIS}/"))
    files = dataset.list(layout.SYNTHESIS) if names else ()
    return [item.path for item in files if item.path.rpartition("/")[2].startswith(names)]


def _annotations(dataset: Store, recordings: frozenset[str]) -> tuple[list[str], set[tuple[str, str]]]:
    """The ledger files with a row of any of the recordings; the recordings' files as (URI, tag)."""

    def rows_of(path: str) -> list[dict[str, Any]]:
        table = pq.ParquetFile(BytesIO(dataset.get(path)))
        columns = [name for name in ("id", "uri", "etag") if name in table.schema_arrow.names]
        return [row for row in table.read(columns).to_pylist() if row["id"] in recordings]

    paths = [item.path for item in dataset.list(layout.ANNOTATIONS) if layout.is_ledger_file(item.path)]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        rows = dict(zip(paths, pool.map(rows_of, paths), strict=True))
    files = {(row["uri"], row["etag"]) for found in rows.values() for row in found if "uri" in row}
    return [path for path in paths if rows[path]], files


def _delete_spools(files: Iterable[tuple[str, str]]) -> None:
    # Imported here because it imports the decoder, which only a removal needs.
    from pipeline.inputs.spooled_audio import drop_spools, scratch_folder

    drop_spools(scratch_folder(None), files)
