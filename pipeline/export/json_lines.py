"""JSON Lines with all that the table of turns says."""

import json
from collections.abc import Iterable, Iterator

from pipeline.versions.inspect import Row


def jsonl(_name: str, rows: Iterable[Row]) -> Iterator[str]:
    """All columns of turns.parquet."""
    for row in rows:
        yield json.dumps({"kept": row["status"] != "set_aside"} | row, ensure_ascii=False)
