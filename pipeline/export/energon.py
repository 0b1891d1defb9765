"""The samples of a version for Megatron Energon: its shards with an index, and `.nv-meta` beside them."""

import json
import shutil
import struct
import tarfile
from itertools import groupby
from pathlib import Path

import yaml

from pipeline.storage import dataset_layout as layout
from pipeline.versions.reader import Version
from schemas.manifest import Shard

SPLITS = {"train": "train", "validation": "val"}
"""Split -> its name in Energon."""

_DATASET = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
"""Samples as dictionaries of their members, for a cooker of the user's."""


def write_energon(version: Version, shard: Shard, folder: Path, _: int) -> int:
    """Copy a shard into the dataset of its subset, as all samples of one have the same members. Returns the
    number of samples."""
    target = folder / layout.shard_subset(shard.path) / layout.shard_file(shard.path)
    target.parent.mkdir()
    with version.local(shard.path) as path:
        shutil.copyfile(path, target)
    _write_index(target)
    return shard.samples


def describe_energon(version: Version, folder: Path) -> None:
    """Write `.nv-meta` of each subset."""
    by_subset: dict[str, list[Shard]] = {}
    for shard in version.manifest.shards:
        by_subset.setdefault(layout.shard_subset(shard.path), []).append(shard)
    for subset, shards in by_subset.items():
        meta = folder / subset / ".nv-meta"
        meta.mkdir(parents=True)
        counts = {layout.shard_file(shard.path): shard.samples for shard in shards}
        parts: dict[str, list[str]] = {name: [] for name in SPLITS.values()}
        for shard in shards:
            parts[SPLITS[shard.split]].append(layout.shard_file(shard.path))
        (meta / "dataset.yaml").write_text(yaml.safe_dump(_DATASET))
        (meta / "split.yaml").write_text(yaml.safe_dump({"split_parts": parts, "exclude": []}))
        (meta / ".info.json").write_text(json.dumps({"shard_counts": counts}, indent=1))


def _write_index(shard: Path) -> None:
    """Write `<shard>.idx`: the first byte of each sample and the byte after the last, 8 bytes each."""
    with tarfile.open(shard, "r:") as tar:
        samples = groupby(tar, lambda member: member.name.partition(".")[0])
        offsets = [next(members).offset for _, members in samples]
        end = tar.offset
    shard.with_name(f"{shard.name}.idx").write_bytes(struct.pack(f"={len(offsets) + 1}Q", *offsets, end))
