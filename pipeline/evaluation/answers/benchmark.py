"""A benchmark: its rows, and the audio of its questions."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline.config.yaml_config import beside
from pipeline.evaluation.answers import public_forms
from pipeline.evaluation.answers.talk_rows import is_talk, talk_question
from pipeline.inputs.row_files import list_row_files, read_rows
from pipeline.storage.store import Store
from schemas.benchmark import BenchmarkRow, parse_row
from schemas.errors import DataError, SetupError

BUILTIN = "builtin"
FOLDER = Path(__file__).with_name("builtin")


@dataclass(frozen=True)
class Benchmark:
    name: str
    rows: tuple[BenchmarkRow, ...]
    audio: Callable[[str], bytes]
    """The file that a turn names in `audio`. Raises FileNotFoundError."""
    refused: tuple[str, ...] = ()
    """Rows that can't be used, as `file:line: why`."""

    @property
    def version(self) -> str:
        """12 hexadecimal digits of a hash of all rows."""
        content = [row.model_dump(mode="json", exclude_defaults=True) for row in self.rows]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def limited(self, limit: int | None) -> "Benchmark":
        """The first `limit` rows of each dimension."""
        if limit is None:
            return self
        seen: Counter[str] = Counter()
        kept = []
        for row in self.rows:
            seen[row.dimension] += 1
            if seen[row.dimension] <= limit:
                kept.append(row)
        return replace(self, rows=tuple(kept))


def benchmark_beside(recipe: Path, place: str) -> str:
    """A benchmark as a recipe names it, for `open_benchmark`: a path is relative to the recipe."""
    return place if place == BUILTIN else beside(recipe, place)


def open_benchmark(place: str) -> Benchmark:
    """The shipped benchmark (`builtin`), or that in a file, a folder or a prefix, also in a public form or of
    `init --talk`.

    Raises SetupError for a place without a single row that can be used; other bad rows are `refused`.
    """
    uri = str(FOLDER) if place == BUILTIN else place
    name = BUILTIN if place == BUILTIN else uri.rstrip("/").rpartition("/")[2]
    if public := public_forms.recognised(uri):
        return _checked(name, place, *public)
    found: list[tuple[str, BenchmarkRow | DataError]] = []
    stores: list[Store] = []
    several = 0
    for store, file in list_row_files(uri):
        stores.append(store)
        for where, value in read_rows([store.join(file)]):
            try:
                if isinstance(value, DataError):
                    raise DataError(value.code, f"{where}: {value.message}")
                row = talk_question(value, where) if is_talk(value) else parse_row(value, where)
                if row is None:
                    several += 1
                else:
                    found.append((where, _from_root(row, PurePosixPath(file).parent)))
            except DataError as error:
                found.append((where, error))
    if several:
        why = f"{name}: {several} dialogues of several exchanges: a benchmark gives no earlier answers"
        found.append((name, DataError("several_exchanges", why)))
    return _checked(name, place, found, lambda path: stores[0].get(path))


def _from_root(row: BenchmarkRow, folder: PurePosixPath) -> BenchmarkRow:
    """A row whose audio is relative to the benchmark instead of to the row's file."""
    turns = [
        turn.model_copy(update={"audio": str(folder / turn.audio)}) if turn.audio else turn
        for turn in row.turns
    ]
    return row.model_copy(update={"turns": tuple(turns)})


def _checked(
    name: str,
    place: str,
    found: Iterable[tuple[str, BenchmarkRow | DataError]],
    audio: Callable[[str], bytes],
) -> Benchmark:
    rows: dict[str, BenchmarkRow] = {}
    refused: list[str] = []
    for where, row in found:
        if isinstance(row, DataError):
            refused.append(row.message)
        elif row.id in rows:
            refused.append(f"{where}: `id`: {row.id} stands in a row before")
        else:
            rows[row.id] = row
    if not rows:
        raise SetupError(f"{place} is not a benchmark: {_first(refused)}")
    return Benchmark(name, tuple(rows.values()), audio, tuple(refused))


def _first(refused: Sequence[str]) -> str:
    if not refused:
        return "it has no rows"
    more = f" (and {len(refused) - 1} other rows)" if len(refused) > 1 else ""
    return f"{refused[0]}{more}"
