"""Samples as MDS, the shards of MosaicML Streaming: a folder with an index for each split and subset."""

import json
from pathlib import Path
from typing import Any

from pipeline.export.column_shards import SHARD_BYTES, ColumnShards, columns_of, write_columns, write_indexes
from pipeline.versions.reader import Version
from pipeline.versions.samples import PublishedSample
from schemas.manifest import Shard

_ENCODINGS = {"key": "str", "json": "json"}
"""How readers decode a column; the others are bytes."""


def write_mds(version: Version, shard: Shard, folder: Path, number: int) -> int:
    """Write the samples of a shard, whose arrays are columns of bytes. Returns the number of samples."""

    def shards(folder: Path, sample: PublishedSample) -> ColumnShards:
        return mds_shards(folder, sorted(columns_of(sample)), number)

    return write_columns(version, shard, folder, columns_of, shards)


def mds_shards(folder: Path, columns: list[str], number: int) -> ColumnShards:
    """What writes the shards of a folder, whose names begin with `number`."""
    config = {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": SHARD_BYTES,
        "column_names": columns,
        "column_encodings": [_ENCODINGS.get(name, "bytes") for name in columns],
        "column_sizes": [None] * len(columns),
    }

    def line(name: str, size: int, samples: int) -> dict[str, Any]:
        data = {"basename": name, "bytes": size, "hashes": {}}
        return {**config, "raw_data": data, "zip_data": None, "samples": samples}

    header = json.dumps(config, sort_keys=True).encode()
    return ColumnShards(folder, f"shard.{number:05d}-{{:03d}}.mds", columns, line, header)


def describe_mds(_: Version, folder: Path) -> None:
    """Write the index of each split and subset."""
    write_indexes(folder, lambda shards: {"version": 2, "shards": shards})
