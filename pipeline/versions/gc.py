"""Garbage: what nothing needs any more, found and deleted.

Kept are the versions that a tag means or that something under `lineage/<version>/` was made from, the
annotations that their manifests name, and whatever is younger than some days: work of builds that were
stopped is worth resuming.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Object, Store
from pipeline.versions.leases import leased
from pipeline.versions.reader import Version, tags_of, version_at

DAYS = 30.0


@dataclass(frozen=True)
class Garbage:
    """Things of one kind that nothing needs."""

    kind: str
    """`version`, `annotations`, `cache` or `plan`."""
    name: str
    """A version's id, else a folder."""
    bytes: int
    paths: tuple[str, ...]
    """In the order in which they are to go."""


def record_use(dataset: Store, version: str, name: str, content: bytes) -> None:
    """Note that something, such as a training run, was made from a version: it is kept from now on."""
    dataset.put_new(layout.lineage(version, name), content)


def uses(dataset: Store, version: str) -> list[dict[str, Any]]:
    """What `record_use` was told of a version."""
    return [json.loads(dataset.get(item.path)) for item in dataset.list(layout.lineage(version))]


def needed(dataset: Store) -> set[str]:
    """Ids of the versions that a tag means or a lineage names."""
    return set(tags_of(dataset).values()) | set(dataset.folders(layout.LINEAGE))


def garbage(dataset: Store, days: float = DAYS) -> Iterator[Garbage]:
    """What can go, one version or folder at a time. Deletes nothing."""
    before = time.time() - days * 86400
    keep = needed(dataset)
    named: set[str] = set()
    gone: set[str] = set()
    for id in dataset.folders(layout.VERSIONS):
        found = list(dataset.list(layout.version(id)))
        version = _whole(dataset, id)
        if id in keep or max((item.modified for item in found), default=0) > before:
            named |= set(version.manifest.ledgers) if version else set()
        elif found:
            gone.add(id)
            yield version_files(id, found)
    for kind, folder in (("annotations", layout.ANNOTATIONS), *(("cache", name) for name in layout.CACHES)):
        for part in dataset.folders(folder):
            place = f"{folder}/{part}"
            old = [o for o in dataset.list(place) if o.modified < before and o.path not in named]
            if old:
                yield Garbage(kind, place, sum(o.bytes for o in old), tuple(o.path for o in old))
    plans = [o for o in dataset.list(layout.PLANS) if _version_of(dataset, o) in gone]
    if plans:
        yield Garbage("plan", layout.PLANS, sum(o.bytes for o in plans), tuple(o.path for o in plans))


def collect(dataset: Store, days: float = DAYS) -> list[Garbage]:
    """Delete the garbage and return it. Raises SetupError while a build runs."""
    done = []
    with leased(dataset, "removal"):
        for item in garbage(dataset, days):
            if item.kind != "version" or item.name not in needed(dataset):
                dataset.delete(item.paths)
                done.append(item)
    return done


def version_files(id: str, found: list[Object]) -> Garbage:
    """All of a version, its manifest first: without that it doesn't exist any more."""
    ordered = sorted(found, key=lambda item: item.path != layout.manifest(id))
    return Garbage("version", id, sum(item.bytes for item in found), tuple(item.path for item in ordered))


def _whole(dataset: Store, id: str) -> Version | None:
    return version_at(dataset, id) if dataset.exists(layout.manifest(id)) else None


def _version_of(dataset: Store, plan: Object) -> str:
    return str(json.loads(dataset.get(plan.path))["version"])
