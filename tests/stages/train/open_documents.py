"""Documents of shards on local disk."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from stages.train.documents import Documents, Range, index_shard


def documents_in(shards: list[Path]) -> Documents:
    """Shards on local disk."""

    def read(ranges: Sequence[Range]) -> list[bytes]:
        return [range_of(shards[number], start, size) for number, start, size in ranges]

    tables = []
    for number, path in enumerate(shards):
        with path.open("rb") as file:
            tables.append(index_shard(file, number))
    return Documents(pa.concat_tables(tables), read)


def range_of(file: Path, start: int, size: int) -> bytes:
    with file.open("rb") as opened:
        return os.pread(opened.fileno(), size, start)
