"""Documents of shards on local disk."""

import os
from pathlib import Path

import pyarrow as pa

from stages.train.documents import Documents, index_shard


def documents_in(shards: list[Path]) -> Documents:
    """Shards on local disk."""

    def read(number: int, start: int, size: int) -> bytes:
        with shards[number].open("rb") as file:
            return os.pread(file.fileno(), size, start)

    tables = []
    for number, path in enumerate(shards):
        with path.open("rb") as file:
            tables.append(index_shard(file, number))
    return Documents(pa.concat_tables(tables), read)
