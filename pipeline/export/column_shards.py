"""Shards of samples with the same columns, as MosaicML Streaming and LitData have them.

A shard has the number of samples, where each begins and the last ends, a header, and the samples: the size of
each column and then its bytes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
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


class ColumnShards:
    """Writes the samples of a folder, and a line for each shard, which become the index."""

    def __init__(
        self,
        folder: Path,
        name: str,
        columns: list[str],
        line: Callable[[str, int, int], dict[str, Any]],
        header: bytes = b"",
    ) -> None:
        """`name` has a place for the number of a shard; `line` tells of a shard by its name, its bytes and
        its number of samples."""
        folder.mkdir()
        self._folder = folder
        self._name = name
        self._columns = columns
        self._line = line
        self._header = header
        self._lines: list[dict[str, Any]] = []
        self._samples: list[bytes] = []
        self._bytes = len(header) + 8

    def add(self, sample: Mapping[str, bytes]) -> None:
        """Add a sample: name of each column -> its bytes."""
        if sample.keys() != set(self._columns):
            raise SetupError(f"{self._folder.name} has samples of different members: build the version again")
        values = [sample[name] for name in self._columns]
        data = np.array([len(value) for value in values], np.uint32).tobytes() + b"".join(values)
        if self._samples and self._bytes + len(data) + 4 > SHARD_BYTES:
            self._end_shard()
        self._samples.append(data)
        self._bytes += len(data) + 4

    def finish(self) -> None:
        """Write what is left, and the lines."""
        if self._samples:
            self._end_shard()
        lines = (json.dumps(line, sort_keys=True) + "\n" for line in self._lines)
        (self._folder / LINES).write_text("".join(lines))

    def _end_shard(self) -> None:
        name = self._name.format(len(self._lines))
        with (self._folder / name).open("wb") as file:
            file.writelines(self._parts())
            size = file.tell()
        self._lines.append(self._line(name, size, len(self._samples)))
        self._samples, self._bytes = [], len(self._header) + 8

    def _parts(self) -> Iterator[bytes]:
        count = len(self._samples)
        offsets = np.cumsum([0, *map(len, self._samples)]) + 4 + 4 * (count + 1) + len(self._header)
        yield np.uint32(count).tobytes()
        yield offsets.astype(np.uint32).tobytes()
        yield self._header
        yield from self._samples


def write_columns(
    version: Version,
    shard: Shard,
    folder: Path,
    columns: Callable[[PublishedSample], dict[str, bytes]],
    shards: Callable[[Path, PublishedSample], ColumnShards],
) -> int:
    """Write the samples of a shard into a folder for each subset. Returns their number.

    `columns` are the columns of a sample; `shards` begins those of a folder, given its first sample.
    """
    subsets: dict[str, ColumnShards] = {}
    written = 0
    for sample in samples_of(version, shard):
        kind = "preference" if "chosen" in sample.record else layout.shard_subset(shard.path)
        name = shard.split if kind == "default" else f"{shard.split}-{kind}"
        if name not in subsets:
            subsets[name] = shards(folder / name, sample)
        subsets[name].add(columns(sample))
        written += 1
    for subset in subsets.values():
        subset.finish()
    return written


def columns_of(sample: PublishedSample) -> dict[str, bytes]:
    """The key, the record as JSON, the arrays and the audio of a sample."""
    record = json.dumps(sample.record, ensure_ascii=False, sort_keys=True).encode()
    arrays = {name: array.tobytes() for name, array in sample.arrays.items()}
    audio = {"flac": sample.audio} if sample.audio is not None else {}
    return {"key": sample.key.encode(), "json": record, **arrays, **audio}


def write_indexes(folder: Path, index: Callable[[list[Any]], dict[str, Any]]) -> None:
    """Write the `index.json` of each split and subset from the lines of its shards."""
    for lines in folder.glob(f"*/{LINES}"):
        content = index([json.loads(line) for line in lines.read_text().splitlines()])
        lines.with_name("index.json").write_text(json.dumps(content, sort_keys=True))
        lines.unlink()
