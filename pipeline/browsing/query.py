"""The turns of a version as a table that filters and histograms are answered from, by DuckDB.

Measures and categories of all turns are in memory, about 300 bytes a turn, which are read while the first
turns are looked at; keys, texts and words stay in the version's Parquet file and are read for the turns that
are shown. What a reader asks for is bound as values: the text of a query is made of constants of this package
alone.
"""

import math
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.browsing.filters import (
    BROWSED,
    CATEGORIES,
    LIMIT_COLUMNS,
    WORDS,
    MovedThreshold,
    MovedTurns,
    Order,
    OtherVersion,
    TurnFilter,
)
from schemas.script import UNSPACED
from stages.select import LIMITS, SelectConfig

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = dict[str, Any]
Condition = tuple[str, list[Any]]
"""SQL with a `?` for each of the values."""

MOST_VALUES = 100
"""Values of a category that are listed: the most frequent."""
_LIMIT_CODES = [code for code, _, _ in LIMITS.values()]


@dataclass(frozen=True)
class Amount:
    """Some turns, and their length together."""

    turns: int
    seconds: float


@dataclass(frozen=True)
class Charts:
    """Turns by value of each measure and category."""

    histograms: dict[str, list[int]]
    """Column of a measure -> turns in each of its bins; those outside its range are in the first and last."""
    values: dict[str, dict[str, int]]
    """Category -> value -> turns; an empty text stands for none."""


class TurnTable:
    """The turns of one version."""

    def __init__(
        self, connection: "DuckDBPyConnection", number: int, path: Path, select: SelectConfig
    ) -> None:
        """`path` is the version's turns.parquet; `number` is unique among the tables of the connection."""
        self._connection = connection
        self._number = number
        self._path = str(path)
        self._columns = ", ".join(_columns(pq.read_schema(path)))
        self._select = select
        self._lock = threading.Lock()
        self._made: set[str] = set()
        self._whole_lock = threading.Lock()
        self._whole_charts: Charts | None = None
        ((turns, seconds),) = self._run(
            f'SELECT count(*), coalesce(sum("end" - start), 0) FROM {self._parquet}', [self._path]
        )
        self.whole = Amount(turns, seconds)
        """All turns."""

    _parquet = "read_parquet(?, file_row_number = true)"

    @property
    def _name(self) -> str:
        """The table in memory, which is read when it is first asked for."""
        name = f"turns_{self._number}"
        self._make(
            name,
            f"CREATE TABLE {name} AS SELECT file_row_number AS row, {self._columns} FROM {self._parquet}",
            [self._path],
        )
        return name

    def whole_charts(self) -> Charts:
        """All turns by value; counted once."""
        with self._whole_lock:
            self._whole_charts = self._whole_charts or self._counted("", [], self._name, BROWSED)
        return self._whole_charts

    def count(self, wanted: TurnFilter, others: "Sequence[TurnTable]" = ()) -> Amount:
        if wanted == TurnFilter():
            return self.whole
        where, values = self._where(wanted, others)
        ((turns, seconds),) = self._run(
            f"SELECT count(*), coalesce(sum(seconds), 0) FROM {self._name} WHERE {where}", values
        )
        return Amount(turns, seconds)

    def charts(self, wanted: TurnFilter, others: "Sequence[TurnTable]" = ()) -> Charts:
        if wanted == TurnFilter():
            return self.whole_charts()
        where, values = self._where(wanted, others)
        # A filter is applied once, for all charts; without one, each chart reads its own column only.
        filtered = f"WITH filtered AS MATERIALIZED (SELECT * FROM {self._name} WHERE {where}) "
        # Songs alone have some measures: what no turn of the version has is not counted again.
        whole = self.whole_charts().histograms
        return self._counted(filtered, values, "filtered", [name for name in BROWSED if any(whole[name])])

    def _counted(self, begin: str, values: list[Any], source: str, columns: Collection[str]) -> Charts:
        bins = (
            f'SELECT {number}, least(greatest(floor(("{column}" - {m.low}) / {(m.high - m.low) / m.bins}), '
            f"0), {m.bins - 1})::INTEGER AS bin, NULL::VARCHAR, count(*) FROM {source} "
            f'WHERE isfinite("{column}") GROUP BY bin'
            for number, (column, m) in enumerate(BROWSED.items())
            if column in columns
        )
        names = (
            f"SELECT {number}, NULL, {name}, count(*) FROM {source} GROUP BY {name}"
            for number, name in enumerate(CATEGORIES, len(BROWSED))
        )
        found: list[dict[Any, int]] = [{} for _ in (*BROWSED, *CATEGORIES)]
        for number, bin, value, turns in self._run(begin + " UNION ALL ".join((*bins, *names)), values):
            found[number][bin if number < len(BROWSED) else value] = turns
        return Charts(
            {
                column: [counted.get(n, 0) for n in range(measure.bins)]
                for (column, measure), counted in zip(BROWSED.items(), found, strict=False)
            },
            {
                name: _most_frequent(counted)
                for name, counted in zip(CATEGORIES, found[len(BROWSED) :], strict=True)
            },
        )

    def rows(
        self,
        wanted: TurnFilter,
        order: Order,
        offset: int,
        number: int,
        others: "Sequence[TurnTable]" = (),
    ) -> list[Row]:
        """What the table shows of some turns, in the order that was asked for."""
        found: Sequence[tuple[int, Any]]
        if wanted == TurnFilter() and not order.by:  # doesn't wait for the table in memory
            found = [(row, None) for row in range(offset, min(offset + number, self.whole.turns))]
        else:
            where, values = self._where(wanted, others)
            column = f'"{order.by}"' if order.by else "NULL"
            by = f"{column} {'DESC' if order.descending else 'ASC'} NULLS LAST, row" if order.by else "row"
            found = self._run(
                f"SELECT row, {column} FROM {self._name} WHERE {where} ORDER BY {by} LIMIT ? OFFSET ?",
                [*values, number, offset],
            )
        shown = {row["file_row_number"]: row for row in self._read(_SHOWN, [row for row, _ in found])}
        return [shown[row] | {"ordered": _finite(value)} for row, value in found]

    def turn(self, key: str) -> Row | None:
        """All that the version has of a turn."""
        found = self._records(f"SELECT * FROM {self._parquet} WHERE key = ?", [self._path, key])
        return found[0] if found else None

    def of_recording(self, recording: str, around: float, number: int) -> list[Row]:
        """The turns of a recording that are nearest to a time in seconds, in their order."""
        found = self._records(
            f"SELECT {_SHOWN} FROM {self._parquet} WHERE recording = ? ORDER BY abs(start - ?) LIMIT ?",
            [self._path, recording, around, number],
        )
        return sorted(found, key=lambda row: row["index"])

    def moved(self, to: MovedThreshold) -> dict[str, Amount]:
        """How much another value of a threshold would keep too (`comes`), and no longer (`goes`)."""
        return {
            side: self.count(TurnFilter(moved=MovedTurns(limit=to.limit, value=to.value, side=side)))
            for side in ("comes", "goes")
        }

    def span(self, limit: str) -> tuple[float, float] | None:
        """The values that most turns have of what a threshold limits; None if no turn has any."""
        name = self._values_of(LIMIT_COLUMNS[limit])
        ((low, high),) = self._run(
            f"SELECT quantile_cont(v, 0.005), quantile_cont(v, 0.995) "
            f"FROM (SELECT {name} AS v FROM {self._name}) WHERE isfinite(v)",
            [],
        )
        return None if low is None else (low, high)

    def _where(self, wanted: TurnFilter, others: "Sequence[TurnTable]") -> Condition:
        parts: list[Condition] = []
        for name, (low, high) in wanted.ranges.items():
            parts += [(f'"{name}" >= ?', [low])] if low is not None else []
            parts += [(f'"{name}" <= ?', [high])] if high is not None else []
        for name, values in wanted.among.items():
            parts.append((f"coalesce({name}, '') IN (SELECT unnest(?::VARCHAR[]))", [list(values)]))
        if wanted.text:
            # Letters in any case, also beyond ASCII.
            found = "contains(lower(text), lower(?)) OR contains(lower(recording), lower(?))"
            select = f"row IN (SELECT file_row_number FROM {self._parquet} WHERE {found})"
            parts.append((select, [self._path, wanted.text, wanted.text]))
        if wanted.comparison:
            parts.append(self._compared(wanted.comparison, others))
        if wanted.moved:
            parts.append(self._moved_turns(wanted.moved))
        where = " AND ".join(f"({part})" for part, _ in parts) or "true"
        return where, [value for _, values in parts for value in values]

    def _compared(self, comparison: OtherVersion, others: "Sequence[TurnTable]") -> Condition:
        other = others[comparison.with_version]
        name = f"pairs_{self._number}_{other._number}"
        columns = 'file_row_number, recording, track, start, "end", status'
        alike = " AND ".join(
            f'a."{column}" = b."{column}"' for column in ("recording", "track", "start", "end")
        )
        self._make(
            name,
            f"CREATE TABLE {name} AS SELECT a.file_row_number AS row, a.status = b.status AS alike "
            f"FROM (SELECT {columns} FROM {self._parquet}) a JOIN (SELECT {columns} FROM {self._parquet}) b "
            f"ON {alike}",
            [self._path, other._path],
        )
        if comparison.how == "only_here":
            return f"row NOT IN (SELECT row FROM {name})", []
        return f"row IN (SELECT row FROM {name} WHERE NOT alike)", []

    def _moved_turns(self, moved: MovedTurns) -> Condition:
        limits = {field: getattr(self._select, field) for field in LIMITS}
        if moved.side == "goes":
            passes, values = self._passes({moved.limit: moved.value})
            return f"status <> 'set_aside' AND NOT ({passes})", values
        passes, values = self._passes(limits | {moved.limit: moved.value})
        # Other reasons don't depend on thresholds.
        return (
            f"stage = 'select' AND code IN (SELECT unnest(?::VARCHAR[])) AND ({passes})",
            [_LIMIT_CODES, *values],
        )

    def _passes(self, limits: dict[str, float | None]) -> Condition:
        """Turns that some thresholds keep: a measure that is missing passes, and songs keep their own."""
        parts, values = ["true"], []
        for field, limit in limits.items():
            value = self._values_of(LIMIT_COLUMNS[field])
            passes = f"coalesce({value} {'>=' if field.endswith('_min') else '<='} ?, true)"
            of_turns = {"true": limit}
            if self._select.is_own_of_songs(field, sings=True):
                of_turns = {"sings": self._select.limit(field, sings=True), "NOT sings": limit}
            for who, bound in of_turns.items():
                if bound is not None:
                    parts.append(f"(NOT {who} OR {passes})")
                    values.append(bound)
        return " AND ".join(parts), values

    def _values_of(self, column: str) -> str:
        """An expression for a limited measure. Words are counted when a threshold is first asked about."""
        if column != WORDS:
            return f'"{column}"'
        name = f"words_{self._number}"
        self._make(
            name,
            f"CREATE TABLE {name} AS SELECT file_row_number AS row, {_WORD_COUNT} AS words "
            f"FROM {self._parquet} WHERE text IS NOT NULL",
            [self._path],
        )
        return f"(SELECT words FROM {name} WHERE {name}.row = {self._name}.row)"

    def _make(self, name: str, sql: str, values: list[Any]) -> None:
        with self._lock:
            if name not in self._made:
                self._run(sql, values)
                self._made.add(name)

    def _read(self, columns: str, rows: list[int]) -> list[Row]:
        return self._records(
            f"SELECT {columns} FROM {self._parquet} WHERE file_row_number IN (SELECT unnest(?::BIGINT[]))",
            [self._path, rows],
        )

    def _records(self, sql: str, values: list[Any]) -> list[Row]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, map(_finite, row), strict=True)) for row in cursor.fetchall()]

    def _run(self, sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            return cursor.execute(sql, values).fetchall()


_SHOWN = (
    'file_row_number, key, recording, "index", start, "end", speaker, track, status, stage, code, message, '
    "text, language"
)
_WORD_COUNT = (
    f"len(regexp_extract_all(regexp_replace(text, '[{UNSPACED}]', ' ', 'g'), "
    "'[\\pL\\pN_]+(?:[''’-][\\pL\\pN_]+)*')) "
    f"+ len(regexp_extract_all(text, '[{UNSPACED}]')) / 2"
)
"""As `stages.select` counts words."""


def _finite(value: Any) -> Any:
    """A value that JSON can represent: infinite numbers, such as the loudness of silence, become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def _most_frequent(turns: dict[str | None, int]) -> dict[str, int]:
    ordered = sorted(
        ((value or "", count) for value, count in turns.items()), key=lambda one: (-one[1], one[0])
    )
    return dict(ordered[:MOST_VALUES])


def _columns(schema: pa.Schema) -> Iterator[str]:
    """What is kept in memory of each turn; versions of earlier releases lack columns."""
    yield '("end" - start)::DOUBLE AS seconds'
    for name in ("status", "stage", "code", "language", "dialect", "speaker", "identity", "source"):
        yield f"{name}" if name in schema.names else f"NULL::VARCHAR AS {name}"
    yield "stage || '/' || code AS reason"
    yield "sings" if "sings" in schema.names else "false AS sings"
    for column in BROWSED:
        outer, _, inner = column.partition(".")
        known = outer in schema.names and (not inner or schema.field(outer).type.get_field_index(inner) >= 0)
        if column != "seconds":
            yield f'{column}::DOUBLE AS "{column}"' if known else f'NULL::DOUBLE AS "{column}"'


@contextmanager
def turn_tables(
    files: Sequence[tuple[AbstractContextManager[Path], SelectConfig]],
) -> Iterator[list[TurnTable]]:
    """Tables of some versions, from their turns.parquet on local disk and the thresholds of their recipes."""
    import duckdb

    with ExitStack() as stack:
        connection = stack.enter_context(duckdb.connect())
        # The page's files are read by name; nothing else is, and no extension is loaded.
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        # Rows have numbers, by which they are ordered where that matters.
        connection.execute("SET preserve_insertion_order = false")
        yield [
            TurnTable(connection, number, stack.enter_context(file), select)
            for number, (file, select) in enumerate(files)
        ]
