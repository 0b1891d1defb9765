"""JSON Lines: how a line is written, and those with all that the table of turns says."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.versions.inspect import Row


def json_line(entry: Mapping[str, Any]) -> str:
    """An object as one line. Where a file's name has bytes that are not UTF-8, the line is ASCII: escapes are
    the only form in which JSON has them, and Python reads them back as the name."""
    line = json.dumps(entry, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        return json.dumps(entry)
    return line


def jsonl(_name: str, rows: Iterable[Row]) -> Iterator[str]:
    """All columns of turns.parquet."""
    for row in rows:
        yield json_line({"kept": row["status"] != "set_aside"} | row)
