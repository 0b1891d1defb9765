"""Garbage collection: finding and deleting what is no longer needed.

Kept are versions with a tag, versions that something was made from (`lineage/<version>/`), the annotations
that their manifests list, and everything younger than a number of days, because interrupted builds resume it.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store, StoredObject
from pipeline.versions.leases import leased
from pipeline.versions.reader import Version, head_at, tags_of

DAYS = 30.0

PART_OF = "part of"
"""Kind of the use of a version by a version of all partitions."""


@dataclass(frozen=True)
class Garbage:
    """Files that can be deleted together."""

    kind: str
    """`version`, `annotations`, `cache` or `plan`."""
    name: str
    """The id of a version, otherwise a folder."""
    bytes: int
    paths: tuple[str, ...]
    """In the order of deletion."""


def record_use(dataset: Store, version: str, name: str, content: bytes) -> None:
    """Record that something, such as a training run, was made from a version: `gc` then keeps it."""
    dataset.put_new(layout.lineage(version, name), content)


def uses(dataset: Store, version: str) -> list[dict[str, Any]]:
    """The records that `record_use` wrote for a version."""
    return [json.loads(dataset.get(path)) for path in use_paths(dataset, version)]


def use_paths(dataset: Store, version: str) -> list[str]:
    """The paths of the records that `record_use` wrote for a version."""
    paths = (item.path for item in dataset.list(layout.lineage(version)))
    return [path for path in paths if layout.is_lineage(path)]


def needed(dataset: Store) -> set[str]:
    """Ids of the versions with a tag or a use that lasts, as that by a version of all partitions may not."""
    used = (id for id in dataset.folders(layout.LINEAGE) if _is_used(dataset, id))
    return {*tags_of(dataset).values(), *used}


def _is_used(dataset: Store, id: str) -> bool:
    others = any(use.get("kind") != PART_OF for use in uses(dataset, id))
    return others or bool(heads_of(dataset, id))


def is_partition(dataset: Store) -> bool:
    return dataset.uri.split("/")[-2] == layout.PARTITIONS


def whole_of(partition: Store) -> Store:
    """The dataset that a partition belongs to."""
    return Store(partition.uri.rsplit("/", 2)[0])


def heads_of(partition: Store, id: str) -> list[str]:
    """The versions of all partitions that have this version of one, and still exist."""
    heads = [use["version"] for use in uses(partition, id) if use.get("kind") == PART_OF]
    return [head for head in heads if whole_of(partition).exists(layout.manifest(head))]


def garbage(dataset: Store, days: float = DAYS) -> Iterator[Garbage]:
    """What can be deleted, one version or folder at a time. Deletes nothing."""
    limit = time.time() - days * 86400
    keep = needed(dataset)
    listed: set[str] = set()
    deleted: set[str] = set()
    for id in dataset.folders(layout.VERSIONS):
        files = list(dataset.list(layout.version(id)))
        version = _published(dataset, id)
        if id in keep or max((item.modified for item in files), default=0) > limit:
            listed |= set(version.manifest.ledgers) if version else set()
        elif files:
            deleted.add(id)
            yield version_files(id, files)
    for kind, folder in (("annotations", layout.ANNOTATIONS), *(("cache", name) for name in layout.CACHES)):
        for part in dataset.folders(folder):
            path = f"{folder}/{part}"
            old = [o for o in dataset.list(path) if o.modified < limit and o.path not in listed]
            if old:
                yield Garbage(kind, path, sum(o.bytes for o in old), tuple(o.path for o in old))
    plans = [o for o in plan_files(dataset) if version_of_plan(dataset, o) in deleted]
    if plans:
        yield Garbage("plan", layout.PLANS, sum(o.bytes for o in plans), tuple(o.path for o in plans))


def collect(dataset: Store, days: float = DAYS) -> list[Garbage]:
    """Delete the garbage and return it. Raises SetupError while a build is running."""
    collected = []
    with leased(dataset, "removal"):
        for item in garbage(dataset, days):
            if item.kind != "version" or item.name not in needed(dataset):
                dataset.delete(item.paths)
                collected.append(item)
    return collected


def version_files(id: str, files: list[StoredObject]) -> Garbage:
    """All files of a version, its manifest first: a version without a manifest doesn't exist."""
    ordered = sorted(files, key=lambda item: item.path != layout.manifest(id))
    return Garbage("version", id, sum(item.bytes for item in files), tuple(item.path for item in ordered))


def _published(dataset: Store, id: str) -> Version | None:
    return head_at(dataset, id) if dataset.exists(layout.manifest(id)) else None


def plan_files(dataset: Store) -> list[StoredObject]:
    """The records of the versions that plans resulted in."""
    return [item for item in dataset.list(layout.PLANS) if layout.parse_plan(item.path)]


def version_of_plan(dataset: Store, plan: StoredObject) -> str:
    return str(json.loads(dataset.get(plan.path))["version"])
