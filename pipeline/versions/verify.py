"""Verifies a published version: reads every byte and recounts everything."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.storage import dataset_layout as layout
from pipeline.versions.reader import Table, Version, batches, folder_of
from schemas.manifest import Manifest, Shard, version_id, version_id_of_parts


@dataclass(frozen=True)
class Fault:
    """A difference between a version and its manifest."""

    path: str
    """Relative to the version."""
    what: str


def faults(version: Version, on_file: Callable[[str], None] = lambda path: None) -> Iterator[Fault]:
    """All differences between a version and its manifest; calls `on_file` with each path before reading it.

    Hidden files (`.DS_Store`, `.nfs0001`) are ignored. Of a version in partitions, every part is verified.
    """
    if version.manifest.parts:
        for part, own in zip(version.manifest.parts, version.parts, strict=True):
            for fault in faults(own, on_file):
                yield Fault(f"{folder_of(part)}/{fault.path}", fault.what)
        if version_id_of_parts(version.manifest.parts) != version.id:
            yield Fault(layout.MANIFEST, "lists other parts than those that the version id was computed from")
        recordings = sum(own.manifest.recordings.in_ for own in version.parts)
        if recordings != version.manifest.recordings.in_:
            counted = version.manifest.recordings.in_
            yield Fault(layout.MANIFEST, f"says {counted} recordings, its parts have {recordings}")
        return
    manifest = version.manifest
    listed = {file.path: file for file in (*manifest.shards, *manifest.files)}
    prefix = version.path() + "/"
    stored = {item.path.removeprefix(prefix): item.bytes for item in version.store.list(version.path())}
    for path in sorted(listed.keys() - stored.keys()):
        yield Fault(path, "is missing")
    surplus = stored.keys() - listed.keys() - {layout.MANIFEST}
    for path in sorted(path for path in surplus if not path.rpartition("/")[2].startswith(".")):
        yield Fault(path, "is not listed in the manifest")

    intact = set()
    for path in sorted(listed.keys() & stored.keys()):
        file = listed[path]
        on_file(path)
        if stored[path] != file.bytes:
            yield Fault(path, f"has {stored[path]:,} bytes, the manifest says {file.bytes:,}")
            continue
        with version.local(path) as local:
            with local.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            if digest != file.sha256:
                yield Fault(
                    path, f"has changed: sha256 {digest[:16]}.., the manifest says {file.sha256[:16]}.."
                )
                continue
            intact.add(path)
            if isinstance(file, Shard):
                yield from _shard_faults(file, local)

    for name, check in _TABLES.items():
        if f"{name}.parquet" in intact:
            with version.table(name) as table:
                for what in check(manifest, table):
                    yield Fault(f"{name}.parquet", what)
    for what in _sums(manifest):
        yield Fault(layout.MANIFEST, what)


def _shard_faults(shard: Shard, path: Path) -> Iterator[Fault]:
    import webdataset

    try:
        samples = sum(1 for _ in webdataset.WebDataset([str(path)], shardshuffle=False))
    except Exception as error:  # of any type: the shard can't be read
        yield Fault(shard.path, f"can't be read by webdataset: {error}")
        return
    if samples != shard.samples:
        yield Fault(shard.path, f"has {samples} samples, the manifest says {shard.samples}")


def _turns(manifest: Manifest, table: ds.Dataset) -> Iterator[str]:
    counts = manifest.turns
    yield from _differences(
        "turns",
        _count(table, "status"),
        {"used": counts.used, "eligible": counts.eligible, "set_aside": counts.set_aside},
    )


def _set_aside(manifest: Manifest, table: ds.Dataset) -> Iterator[str]:
    yield from _differences("set aside by", _count(table, "stage", "code"), manifest.set_aside)


def _index(manifest: Manifest, table: ds.Dataset) -> Iterator[str]:
    yield from _differences("samples of", _count(table, "family"), manifest.samples)
    yield from _differences("samples in", _count(table, "split"), manifest.splits)
    yield from _differences(
        "samples in", _count(table, "shard"), {s.path: s.samples for s in manifest.shards}
    )


_TABLES: dict[Table, Callable[[Manifest, ds.Dataset], Iterator[str]]] = {
    "turns": _turns,
    "set_aside": _set_aside,
    "index": _index,
}


def _sums(manifest: Manifest) -> Iterator[str]:
    recordings, turns = manifest.recordings, manifest.turns
    if recordings.in_ != recordings.kept + recordings.set_aside:
        yield f"{recordings.in_} recordings are not {recordings.kept} kept + {recordings.set_aside} set aside"
    if turns.diarized != turns.used + turns.eligible + turns.set_aside:
        parts = f"{turns.used} used + {turns.eligible} eligible + {turns.set_aside} set aside"
        yield f"{turns.diarized} turns are not {parts}"
    texts = manifest.texts
    if texts.rows != texts.used + texts.eligible + texts.set_aside:
        parts = f"{texts.used} used + {texts.eligible} eligible + {texts.set_aside} set aside"
        yield f"{texts.rows} rows of text are not {parts}"
    if version_id(manifest.shards, manifest.files) != manifest.version:
        yield "lists other files than those that the version id was computed from"


def _count(table: ds.Dataset, *columns: str) -> Counter[str]:
    """Number of rows by the values of some columns, joined by a slash."""
    counts: Counter[str] = Counter()
    for batch in batches(table, list(columns)):
        values = pc.binary_join_element_wise(*(batch[column] for column in columns), "/")
        for entry in pc.value_counts(values).to_pylist():
            counts[entry["values"]] += entry["counts"]
    return counts


def _differences(what: str, counted: Mapping[str, int], listed: Mapping[str, int]) -> Iterator[str]:
    for name in sorted(counted.keys() | listed.keys()):
        if counted.get(name, 0) != listed.get(name, 0):
            yield f"has {counted.get(name, 0)} {what} {name}, the manifest says {listed.get(name, 0)}"
