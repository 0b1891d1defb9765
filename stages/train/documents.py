"""The documents of a version's shards: an index of where their ids are in the tar files, and reading them.

A shard is read in place, by byte ranges, and never unpacked.
"""

import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.vocabulary import Ids
from stages.train.npy import elements_ahead

INDEX = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("family", pa.string(), nullable=False),
        pa.field("differs_in", pa.string()),  # of a pair
        pa.field("shard", pa.int32(), nullable=False),
        # Number of ids in all its documents: a pair has two, which both begin with the prompt.
        pa.field("length", pa.int32(), nullable=False),
        # First byte in the shard and number of elements, of tokens and loss, or of prompt, chosen, rejected.
        *(pa.field(f"{name}_{n}", pa.int64(), nullable=False) for n in range(3) for name in ("at", "n")),
    ]
)
"""Columns of the index of a version's documents."""

SAMPLE: dict[str, np.dtype[Any]] = {"tokens.npy": np.dtype(np.int32), "loss.npy": np.dtype(np.uint8)}
PAIR: dict[str, np.dtype[Any]] = dict.fromkeys(
    ("prompt.npy", "chosen.npy", "rejected.npy"), np.dtype(np.int32)
)
"""Member of a sample, or of a pair -> the type of its elements."""

Range = tuple[int, int, int]
"""Number of a shard, first byte, number of bytes."""

Read = Callable[[Sequence[Range]], Sequence[bytes]]
"""The bytes of ranges, in order: passed in by the pipeline."""


@dataclass(frozen=True)
class Document:
    """The extent of attention: a sample, or one side of a pair after its prompt."""

    key: str
    family: str
    tokens: Ids
    """[n] int32"""
    loss: NDArray[np.uint8]
    """[n], 1 if the token is a target."""


def index_shard(file: BinaryIO, number: int) -> pa.Table:
    """Rows of `INDEX` for the documents of a shard, in its order. Raises SetupError for a member that
    is not an array of ids."""
    rows: dict[str, dict[str, object]] = {}
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            key, _, name = member.name.partition(".")
            row = rows.setdefault(key, {"key": key, "shard": number, "at_2": 0, "n_2": 0})
            content = cast(BinaryIO, tar.extractfile(member))
            if name == "json":
                record = json.load(content)
                row |= {"family": record["family"], "differs_in": record.get("differs_in")}
            elif name in SAMPLE or name in PAIR:
                parts = SAMPLE if name in SAMPLE else PAIR
                part = list(parts).index(name)
                row[f"n_{part}"] = elements_ahead(content, member.name, parts[name])
                row[f"at_{part}"] = member.offset_data + content.tell()
    for row in rows.values():
        counts = [cast(int, row[f"n_{part}"]) for part in range(3)]
        row["length"] = 2 * counts[0] + counts[1] + counts[2] if counts[2] else counts[0]
    return pa.Table.from_pylist(list(rows.values()), schema=INDEX)


class Documents:
    """Random access to the documents of an index."""

    def __init__(self, index: pa.Table, read: Read) -> None:
        self.index = index.combine_chunks()
        self._read = read
        self._shard = self.index["shard"].to_numpy()
        self._at, self._n = (
            [self.index[f"{name}_{part}"].to_numpy() for part in range(3)] for name in ("at", "n")
        )

    def __len__(self) -> int:
        return int(self.index.num_rows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of ids of each entry; of a pair both sides together, with the prompt twice."""
        return np.asarray(self.index["length"].to_numpy(), np.int64)

    def side_lengths(self, entries: NDArray) -> NDArray[np.int64]:
        """Number of ids of each document of some entries; a pair has two documents."""
        first, second, third = (n[entries] for n in self._n)
        is_pair = third > 0
        sides = [np.where(is_pair, first + second, first), (first + third)[is_pair]]
        return np.concatenate(sides).astype(np.int64)

    def chosen(self, pairs: bool, families: Sequence[str] | None = None, equal_texts: bool = True) -> NDArray:
        """Numbers of the pairs, or of the samples, of some families (None: of all); pairs with equal texts
        only if `equal_texts`."""
        wanted = pc.equal(pc.greater(self.index["n_2"], 0), pairs)
        if families is not None:
            wanted = pc.and_(wanted, pc.is_in(self.index["family"], pa.array(families, pa.string())))
        if not equal_texts:
            wanted = pc.and_(wanted, pc.fill_null(pc.not_equal(self.index["differs_in"], "audio"), True))
        return np.flatnonzero(wanted.to_numpy())

    def keys(self, entries: Iterable[int]) -> list[str]:
        return [self.index["key"][int(entry)].as_py() for entry in entries]

    def read(self, entries: Sequence[int] | NDArray) -> list[Document]:
        """The documents of entries, in order: a sample, or the chosen and the rejected side of a pair, each
        after the prompt."""
        places = [self._place(int(entry)) for entry in entries]
        contents = self._read([place.range for place in places])
        return [
            document
            for place, content in zip(places, contents, strict=True)
            for document in self._documents(place, content)
        ]

    def _place(self, entry: int) -> "_Place":
        dtypes = (PAIR if self._n[2][entry] else SAMPLE).values()
        parts = [
            (int(at[entry]), int(n[entry]), dtype)
            for at, n, dtype in zip(self._at, self._n, dtypes, strict=False)
        ]
        first = min(at for at, _, _ in parts)
        last = max(at + n * dtype.itemsize for at, n, dtype in parts)
        return _Place(entry, (int(self._shard[entry]), first, last - first), parts)

    def _documents(self, place: "_Place", content: bytes) -> list[Document]:
        key, family = (self.index[name][place.entry].as_py() for name in ("key", "family"))
        _, start, _ = place.range
        first, *others = (np.frombuffer(content, dtype, n, at - start) for at, n, dtype in place.parts)
        if len(others) == 1:
            return [Document(key, family, first, others[0])]
        return [
            Document(
                key,
                family,
                np.concatenate([first, side]),
                np.repeat(np.array([0, 1], np.uint8), [len(first), len(side)]),
            )
            for side in others
        ]


@dataclass(frozen=True)
class _Place:
    """Where the arrays of an entry are: next to each other in a shard, so that one range has them all."""

    entry: int
    range: Range
    parts: list[tuple[int, int, np.dtype[Any]]]
    """First byte in the shard, number of elements and their type."""
