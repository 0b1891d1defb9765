"""Is a published version whole? Every byte is read again and every count made again."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.storage import dataset_layout as layout
from pipeline.versions.reader import Table, Version, batches
from schemas.manifest import Manifest, Shard, version_id


@dataclass(frozen=True)
class Fault:
    """Something that is not as the manifest says."""

    path: str
    """Relative to the version."""
    what: str


def faults(version: Version, reading: Callable[[str], None] = lambda path: None) -> Iterator[Fault]:
    """Everything that is wrong with a version; `reading` is told each file before it is read."""
    manifest = version.manifest
    listed = {file.path: file for file in (*manifest.shards, *manifest.files)}
    prefix = version.path() + "/"
    stored = {item.path.removeprefix(prefix): item.bytes for item in version.store.list(version.path())}
    for path in sorted(listed.keys() - stored.keys()):
        yield Fault(path, "is missing")
    for path in sorted(stored.keys() - listed.keys() - {layout.MANIFEST}):
        yield Fault(path, "is surplus: the manifest doesn't name it")

    sound = set()
    for path in sorted(listed.keys() & stored.keys()):
        file = listed[path]
        reading(path)
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
            sound.add(path)
            if isinstance(file, Shard):
                yield from _shard_faults(file, local)

    for name, check in _TABLES.items():
        if f"{name}.parquet" in sound:
            with version.table(name) as table:
                for what in check(manifest, table):
                    yield Fault(f"{name}.parquet", what)
    for what in _sums(manifest):
        yield Fault(layout.MANIFEST, what)


def _shard_faults(shard: Shard, path: Path) -> Iterator[Fault]:
    import webdataset

    try:
        samples = sum(1 for _ in webdataset.WebDataset([str(path)], shardshuffle=False))
    except Exception as error:  # whatever it stumbles over, the shard can't be read
        yield Fault(shard.path, f"can't be read by webdataset: {error}")
        return
    if samples != shard.samples:
        yield Fault(shard.path, f"holds {samples} samples, the manifest says {shard.samples}")


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
        yield "names other outputs than those that gave the version its id"


def _count(table: ds.Dataset, *columns: str) -> Counter[str]:
    """Rows by the values of columns, joined by a slash."""
    counts: Counter[str] = Counter()
    for batch in batches(table, list(columns)):
        values = pc.binary_join_element_wise(*(batch[column] for column in columns), "/")
        for entry in pc.value_counts(values).to_pylist():
            counts[entry["values"]] += entry["counts"]
    return counts


def _differences(what: str, found: Mapping[str, int], said: Mapping[str, int]) -> Iterator[str]:
    for name in sorted(found.keys() | said.keys()):
        if found.get(name, 0) != said.get(name, 0):
            yield f"counts {found.get(name, 0)} {what} {name}, the manifest says {said.get(name, 0)}"
