"""Samples as MDS, the shards of MosaicML Streaming: a folder with an `index.json` for each split and subset.

A shard has the number of samples, where each begins and the last ends, the columns as JSON, and the samples:
the size of each column and then its bytes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.storage import dataset_layout as layout
from pipeline.versions.reader import Version
from pipeline.versions.samples import PublishedSample, samples_of
from schemas.errors import SetupError
from schemas.manifest import Shard

SHARD_BYTES = 1 << 26
"""Limit of a shard, which readers load as a whole."""
LINES = "index.jsonl"
"""What the index says of each shard."""


def write_mds(version: Version, shard: Shard, folder: Path, number: int) -> int:
    """Write the samples of a shard, whose arrays are columns of bytes. Returns the number of samples."""
    subsets: dict[str, MDSFolder] = {}
    written = 0
    for sample in samples_of(version, shard):
        kind = "preference" if "chosen" in sample.record else layout.shard_subset(shard.path)
        name = shard.split if kind == "default" else f"{shard.split}-{kind}"
        columns = _columns(sample)
        if name not in subsets:
            encodings = {key: _ENCODINGS.get(key, "bytes") for key in columns}
            subsets[name] = MDSFolder(folder / name, encodings, number)
        subsets[name].add(columns)
        written += 1
    for subset in subsets.values():
        subset.finish()
    return written


def describe_mds(_: Version, folder: Path) -> None:
    """Write the `index.json` of each split and subset from the lines of its shards."""
    for lines in folder.glob(f"*/{LINES}"):
        shards = [json.loads(line) for line in lines.read_text().splitlines()]
        index = {"version": 2, "shards": shards}
        lines.with_name("index.json").write_text(json.dumps(index, sort_keys=True))
        lines.unlink()


_ENCODINGS = {"key": "str", "json": "json"}


def _columns(sample: PublishedSample) -> dict[str, bytes]:
    arrays = {name: array.tobytes() for name, array in sample.arrays.items()}
    record = json.dumps(sample.record, ensure_ascii=False, sort_keys=True).encode()
    audio = {"flac": sample.audio} if sample.audio is not None else {}
    return {"key": sample.key.encode(), "json": record, **arrays, **audio}


class MDSFolder:
    """Writes shards with the same columns, and a line for each, which become the index."""

    def __init__(self, folder: Path, encodings: dict[str, str], number: int = 0) -> None:
        """`encodings`: name of a column -> how readers decode it; `number` begins the names of the shards."""
        folder.mkdir()
        self._folder = folder
        self._number = number
        self._names = sorted(encodings)
        self._config = {
            "version": 2,
            "format": "mds",
            "compression": None,
            "hashes": [],
            "size_limit": SHARD_BYTES,
            "column_names": self._names,
            "column_encodings": [encodings[name] for name in self._names],
            "column_sizes": [None] * len(self._names),
        }
        self._header = json.dumps(self._config, sort_keys=True).encode()
        self._shards: list[dict[str, Any]] = []
        self._samples: list[bytes] = []
        self._bytes = len(self._header) + 8

    def add(self, columns: dict[str, bytes]) -> None:
        """Add a sample: name of each column -> its bytes."""
        if sorted(columns) != self._names:
            raise SetupError(f"{self._folder.name} has samples of different members: build the version again")
        values = [columns[name] for name in self._names]
        sample = np.array([len(value) for value in values], np.uint32).tobytes() + b"".join(values)
        if self._samples and self._bytes + len(sample) + 4 > SHARD_BYTES:
            self._end_shard()
        self._samples.append(sample)
        self._bytes += len(sample) + 4

    def finish(self) -> None:
        """Write what is left, and the lines."""
        if self._samples:
            self._end_shard()
        lines = (json.dumps(shard, sort_keys=True) + "\n" for shard in self._shards)
        (self._folder / LINES).write_text("".join(lines))

    def _end_shard(self) -> None:
        name = f"shard.{self._number:05d}-{len(self._shards):03d}.mds"
        with (self._folder / name).open("wb") as file:
            for part in self._parts():
                file.write(part)
            size = file.tell()
        data = {"basename": name, "bytes": size, "hashes": {}}
        self._shards.append(
            {**self._config, "raw_data": data, "zip_data": None, "samples": len(self._samples)}
        )
        self._samples, self._bytes = [], len(self._header) + 8

    def _parts(self) -> Iterator[bytes]:
        count = len(self._samples)
        offsets = np.cumsum([0, *map(len, self._samples)]) + 4 + 4 * (count + 1) + len(self._header)
        yield np.uint32(count).tobytes()
        yield offsets.astype(np.uint32).tobytes()
        yield self._header
        yield from self._samples
