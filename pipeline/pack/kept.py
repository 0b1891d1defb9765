"""What a partition keeps, in tables of its version, for the partitions after it: they set aside duplicates of
it, and its hours count towards their caps.

Each reads those of all before it in blocks, and never holds more of them than one block at a time.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.pack.groups import in_tasks
from pipeline.planning.plan import Plan
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.versions.gc import whole_of
from schemas.errors import SetupError
from schemas.turn import recording_key
from stages.mixture import MixtureTurn
from stages.select import PERMUTATIONS, Item, Sketches, SketchIndex, sketches

_BLOCK = 250_000
"""Rows that are read at once, 40 MB."""

Kept = dict[str, pa.Table]
"""What a partition keeps: `recording` and `turn`, to be compared with those of others, and `hours`."""

HOURS = "hours"

NAMED_SPEAKER = "speaker "
"""Begins the names of speakers that may occur in several partitions; others are of one recording."""

KeptVersion = tuple[str, Store, str]
"""The name of a partition, where it is, and the id of its version."""

_SKETCHES = pa.schema(
    [
        ("recording", pa.string()),
        ("key", pa.string()),
        ("content", pa.uint64()),
        ("signature", pa.binary(PERMUTATIONS)),
    ]
)
_HOURS = pa.schema([("cap", pa.string()), ("value", pa.string()), ("seconds", pa.float64())])


def sketch_table(kept: Iterable[tuple[str, Item]]) -> pa.Table:
    """Recordings and kept items of them, sorted, with what others are compared with."""
    ordered = sorted(kept, key=lambda pair: (pair[0], pair[1].name))
    items = [item for _, item in ordered]
    drawn = sketches(items)
    signatures: list[bytes | None] = [None] * len(items)
    for n, signature in zip(drawn.signed.tolist(), drawn.signatures, strict=True):
        signatures[n] = signature.tobytes()
    columns = [
        pa.array([recording for recording, _ in ordered], pa.string()),
        pa.array([item.name for item in items], pa.string()),
        pa.array(drawn.contents),
        pa.array(signatures, pa.binary(PERMUTATIONS)),
    ]
    return pa.table(columns, schema=_SKETCHES)


def hours_table(kept: Iterable[MixtureTurn], caps: Iterable[str]) -> pa.Table:
    """The seconds of kept turns by what caps limit."""
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for turn in kept:
        for cap in caps:
            value = getattr(turn, cap)
            if value is not None and (cap != "speaker" or value.startswith(NAMED_SPEAKER)):
                seconds[cap, value].append(turn.seconds)
    # The exact sum: the table doesn't depend on the order of the turns.
    rows = [(*name, math.fsum(parts)) for name, parts in sorted(seconds.items())]
    return pa.table([list(column) for column in zip(*rows, strict=True)] or [[], [], []], schema=_HOURS)


def written(table: pa.Table, path: Path) -> Path:
    """One of these tables as a file, which is read in blocks."""
    pq.write_table(table, path, compression="zstd", row_group_size=_BLOCK, use_dictionary=["recording"])
    return path


class EarlierPartitions:
    """What the partitions before one keep, in the order of their names; nothing for other datasets."""

    def __init__(self, plan: Plan, parallel: bool) -> None:
        """`parallel` compares with each of them in a task of the Ray that is running."""
        self._parallel = parallel
        self._versions = [
            (
                part.partition,
                Store(whole_of(plan.dataset).join(layout.partition(part.partition))),
                part.version,
            )
            for part in plan.earlier or ()
        ]

    def duplicates(self, items: Sequence[Item], table: str, similarity: float) -> dict[str, str]:
        """Name of each item that is a duplicate of one that is kept before -> what to call that one."""
        if not items or not self._versions:
            return {}
        index = SketchIndex(items, similarity)

        def work(version: KeptVersion) -> dict[int, str]:
            return _duplicates_in(version, table, index)

        each = in_tasks(self._versions, work) if self._parallel else map(work, self._versions)
        first: dict[int, str] = {}
        for found in each:
            for own, other in found.items():
                first.setdefault(own, other)
        return {items[own].name: other for own, other in first.items()}

    def seconds(self, turns: Sequence[MixtureTurn], caps: Iterable[str]) -> dict[str, dict[str, float]]:
        """Cap -> its values in some turns -> the seconds of them that are kept before."""
        used = {cap: dict.fromkeys((getattr(turn, cap) for turn in turns), 0.0) for cap in caps}
        for version in self._versions if used else ():
            with _opened(version, HOURS) as file:
                for row in file.read().to_pylist():
                    if row["value"] in used[row["cap"]]:
                        used[row["cap"]][row["value"]] += row["seconds"]
        return used


def _duplicates_in(version: KeptVersion, table: str, index: SketchIndex) -> dict[int, str]:
    """Position of each item of an index that is a duplicate of one in a version -> what to call the first."""
    first: dict[int, str] = {}
    with _opened(version, table) as file:
        for number in range(file.num_row_groups):
            block = _sketches_in(file.read_row_group(number, ["content", "signature"]))
            pairs = [pair for pair in index.duplicates(block) if pair[0] not in first]
            if not pairs:
                continue
            names = file.read_row_group(number, ["recording", "key"])
            for own, other in pairs:
                recording, key = (names[name][other].as_py() for name in ("recording", "key"))
                # Not its id: what is forgotten there would still be named here.
                named = recording_key(recording) if key == recording else key
                first[own] = f"{named} in the partition {version[0]}"
    return first


@contextmanager
def _opened(version: KeptVersion, table: str) -> Iterator[pq.ParquetFile]:
    _, store, id = version
    try:
        opened = store.open(layout.version(id, layout.kept(table)))
    except FileNotFoundError:
        raise SetupError(
            f"{store.join(layout.version(id))} has been deleted, and the partitions after it depend on what "
            "it keeps: build without --partition"
        ) from None
    with opened, pq.ParquetFile(opened) as file:
        yield file


def _sketches_in(block: pa.Table) -> Sketches:
    signatures = block["signature"].combine_chunks()
    signed = np.flatnonzero(signatures.is_valid().to_numpy(zero_copy_only=False))
    values = np.frombuffer(b"".join(signatures.drop_null().to_pylist()), np.uint8)
    return Sketches(block["content"].to_numpy(), signed, values.reshape(-1, PERMUTATIONS))
