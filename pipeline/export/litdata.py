"""Samples as chunks of LitData: a folder with an index for each split and subset."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.export.column_shards import SHARD_BYTES, ColumnShards, columns_of, write_columns, write_indexes
from pipeline.versions.reader import Version
from pipeline.versions.samples import PublishedSample
from schemas.errors import SetupError
from schemas.manifest import Shard

_ARRAYS = {np.dtype(np.int32): "no_header_numpy:2", np.dtype(np.uint8): "no_header_numpy:4"}
"""LitData's names of arrays with one dimension."""
_OTHERS = {"key": "str", "json": "str", "flac": "bytes"}


def write_litdata(version: Version, shard: Shard, folder: Path, number: int) -> int:
    """Write the samples of a shard, whose records are JSON. Returns the number of samples."""

    def shards(folder: Path, sample: PublishedSample) -> ColumnShards:
        formats = {name: _OTHERS[name] for name in columns_of(sample) if name in _OTHERS}
        return litdata_chunks(
            folder, formats | {name: _ARRAYS[array.dtype] for name, array in sample.arrays.items()}, number
        )

    return write_columns(version, shard, folder, columns_of, shards)


def litdata_chunks(folder: Path, formats: dict[str, str], number: int) -> ColumnShards:
    """What writes the chunks of a folder, whose names begin with `number`. `formats`: column -> LitData's
    name of its type."""

    def line(name: str, size: int, samples: int) -> dict[str, Any]:
        return {
            "formats": formats,
            "chunk": {"filename": name, "chunk_bytes": size, "chunk_size": samples, "dim": None},
        }

    return ColumnShards(folder, f"chunk-{number}-{{}}.bin", sorted(formats), line)


def describe_litdata(version: Version, folder: Path) -> None:
    """Write the index of each split and subset."""

    def index(lines: list[Any]) -> dict[str, Any]:
        formats = lines[0]["formats"]
        if any(line["formats"] != formats for line in lines):
            raise SetupError("the shards have samples of different members: build the version again")
        config = {
            "chunk_bytes": SHARD_BYTES,
            "chunk_size": None,
            "compression": None,
            "data_format": [formats[name] for name in sorted(formats)],
            "data_spec": _dictionary_of(sorted(formats)),
            "encryption": None,
            "item_loader": "PyTreeLoader",
        }
        # Readers keep chunks in a folder that is named after the time; the version is as good a name.
        return {
            "chunks": [line["chunk"] for line in lines],
            "config": config,
            "updated_at": version.manifest.version,
        }

    write_indexes(folder, index)


def _dictionary_of(columns: list[str]) -> str:
    """A dictionary with these columns as keys, as torch's trees are written (`treespec_dumps`)."""
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    tree = {
        "type": "builtins.dict",
        "context": json.dumps(columns),
        "children_spec": [leaf] * len(columns),
    }
    return json.dumps([1, tree])
