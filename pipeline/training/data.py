"""The data of a stage: documents of a version, chosen and indexed once, and read by range from its shards."""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from pipeline.training.recipe import MEASURES, StageConfig
from pipeline.training.shard_copies import copied
from pipeline.training.training_folder import RUN
from pipeline.versions.provenance import ids_of
from pipeline.versions.reader import Version, batches, version_at
from schemas.errors import SetupError
from stages.mixture import fit_mixture

if TYPE_CHECKING:
    from stages.train.documents import Range, Read
    from stages.train.loop import TrainingData

SPLIT, VALIDATION_SPLIT = "train", "validation"
DOCUMENTS = "documents.arrow"
"""Index of the documents that a stage has chosen; `documents.json` next to it has the counts."""
VALIDATION_DOCUMENTS = "validation.arrow"
"""Index of the documents that its loss is measured on, if it is."""
_INDEXED_AT_ONCE = 1024 * 1024
"""Bytes that are read of a shard at once when it is indexed: all of it but its audio is read."""
READERS = 32
"""Documents that a process reads from storage at the same time."""


@dataclass(frozen=True)
class VersionData:
    """Opens a stage's data, in any process that can read the index."""

    dataset: str
    """URI."""
    version: str
    documents: Path
    identity: Mapping[str, Any]
    validation: Path | None = None
    """Index of the documents that the loss is measured on."""
    copies: Path | None = None
    """A folder on the disk of each node, to which shards are copied before they are read."""

    def __call__(self) -> "TrainingData":
        from stages.train.documents import Documents
        from stages.train.loop import TrainingData

        version = version_at(Store(self.dataset), self.version)

        def opened(index: Path, split: str) -> Documents:
            table = pa.ipc.open_file(pa.memory_map(str(index))).read_all()
            paths = shards_of(version, split)
            if self.copies is None:
                return Documents(table, _reading(version.store, [version.path(path) for path in paths]))
            used = [paths[number] for number in table["shard"].unique().to_pylist()]
            return Documents(table, _reading(Store(str(copied(version, used, self.copies))), paths))

        documents = opened(self.documents, SPLIT)
        held_out = opened(self.validation, VALIDATION_SPLIT) if self.validation else None
        return TrainingData(documents, ids_of(version.manifest), self.identity, held_out)


def _reading(store: Store, shards: Sequence[str]) -> "Read":
    """Reads ranges of shards, given by their paths in a store, many at the same time."""
    readers = ThreadPoolExecutor(READERS)

    def one(wanted: "Range") -> bytes:
        shard, start, size = wanted
        return store.read(shards[shard], start, start + size)

    each: Any = map if store.is_local else readers.map  # a local disk answers at once
    return lambda ranges: list(each(one, ranges))


def shards_of(version: Version, split: str = SPLIT) -> list[str]:
    """Paths of the shards of a split, within the version."""
    return [shard.path for shard in version.manifest.shards if shard.split == split]


def choose(version: Version, stage: StageConfig, index: Path, folder: Path) -> dict[str, int]:
    """Write the index of the documents that a stage trains on into its folder, once. Returns their number and
    those of the documents that are left out, by reason. `index` is the folder for indices of whole shards.

    Raises SetupError if a family of the stage has no document at all.
    """
    counts_file = folder / "documents.json"
    criteria = {"version": version.id} | stage.model_dump(
        mode="json", include={"objective", "families", "mixture", "quality"}
    )
    chosen_before = json.loads(counts_file.read_text()) if counts_file.exists() else {}
    # A run keeps the documents that it started with: the run itself refuses other settings.
    if chosen_before.get("asked") != criteria and not (chosen_before and (folder / RUN).exists()):
        table = indexed(version, index / version.id)
        chosen, counts = _chosen(version, stage, table)
        folder.mkdir(parents=True, exist_ok=True)
        write_table(folder / DOCUMENTS, chosen)
        chosen_before = {"asked": criteria, "counts": counts}
        _replace(counts_file, json.dumps(chosen_before, indent=1).encode())
    result: dict[str, int] = chosen_before["counts"]
    return result


def choose_validation(version: Version, name: str, stage: StageConfig, index: Path, folder: Path) -> None:
    """Write the index of the documents of the validation side that the loss of a stage is measured on: those
    of its families and `quality`. Raises SetupError if there are none."""
    table = indexed(version, index / version.id, VALIDATION_SPLIT)
    families = tuple(stage.mixture) or stage.families
    wanted = pc.equal(pc.greater(table["n_2"], 0), stage.objective == "dpo")
    if families is not None:
        wanted = pc.and_(wanted, pc.is_in(table["family"], pa.array(families, pa.string())))
    chosen = table.filter(wanted)
    if stage.quality:
        chosen = chosen.filter(_good(version, stage.quality, chosen))
    if not chosen.num_rows:
        raise SetupError(
            f"{name}: `validation` needs documents that nothing is trained on, and the validation side of "
            f"{version.manifest.dataset}@{version.id} has {table.num_rows:,}, none of which the stage would "
            "train on: build the version with `shard.validation_share` above 0, or set `validation: null`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / VALIDATION_DOCUMENTS, chosen)


def indexed(version: Version, folder: Path, split: str = SPLIT) -> pa.Table:
    """The documents of all shards of a split. The index of each shard is built once, into `folder`."""
    from stages.train.documents import INDEX, index_shard

    folder.mkdir(parents=True, exist_ok=True)

    def of_shard(numbered: tuple[int, str]) -> pa.Table:
        number, path = numbered
        file = folder / f"{layout.shard_file(path).removesuffix('.tar')}.arrow"
        if not file.exists():
            with version.store.open(version.path(path), _INDEXED_AT_ONCE) as shard:
                write_table(file, index_shard(cast(BinaryIO, shard), number))
        return pa.ipc.open_file(pa.memory_map(str(file))).read_all()

    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(of_shard, enumerate(shards_of(version, split))))
    return pa.concat_tables(tables) if tables else INDEX.empty_table()


def _chosen(version: Version, stage: StageConfig, table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """The rows that a stage uses, and the number of the others by reason."""
    counts: Counter[str] = Counter(documents=table.num_rows)

    def keep(rows: pa.Table, mask: Any, reason: str) -> pa.Table:
        kept = rows.filter(mask)
        counts[reason] += rows.num_rows - kept.num_rows
        return kept

    table = keep(table, pc.equal(pc.greater(table["n_2"], 0), stage.objective == "dpo"), "other_objective")
    families = tuple(stage.mixture) if stage.mixture else stage.families
    if families is not None:
        table = keep(table, pc.is_in(table["family"], pa.array(families, pa.string())), "other_family")
        available = set(table["family"].unique().to_pylist())
        if missing := [family for family in families if family not in available]:
            raise SetupError(_missing_families(version, missing))
    if stage.quality:
        table = keep(table, _good(version, stage.quality, table), "low_quality")
    if stage.mixture:
        columns = table["key"].to_pylist(), table["family"].to_pylist(), table["length"].to_numpy()
        fits = fit_mixture(columns[0], columns[1], np.asarray(columns[2], np.int64), stage.mixture)
        table = keep(table, pa.array(fits), "over_share")
    if not table.num_rows:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
        raise SetupError(
            f"{version.uri} has no documents for the stage ({reasons}): relax its `families` or `quality`"
        )
    return table, dict(counts) | {"chosen": table.num_rows, "tokens": pc.sum(table["length"]).as_py()}


def _missing_families(version: Version, missing: list[str]) -> str:
    available = ", ".join(f"{family} {n:,}" for family, n in sorted(version.manifest.samples.items()))
    return (
        f"{version.manifest.dataset}@{version.id} has no samples of {', '.join(missing)} to train on; it has "
        f"{available}. Build a version with them (`compose.families`, `preferences` in its recipe), or set "
        "the stage's `families`"
    )


def _good(version: Version, quality: Mapping[str, float], table: pa.Table) -> pa.Array:
    """Whether each document is made of turns within the bounds."""
    poor = _poor_turns(version, quality)
    return pa.array([not (poor & set(_turn_keys(key))) for key in table["key"].to_pylist()], pa.bool_())


def _poor_turns(version: Version, quality: Mapping[str, float]) -> set[str]:
    """Keys of the turns with a measure that is out of bounds."""
    poor: pc.Expression = pc.scalar(False)
    for name, bound in quality.items():
        measure, _, end = name.rpartition("_")
        value = ds.field(MEASURES[measure], measure)
        with version.table("turns") as turns:
            if not turns.count_rows(filter=value.is_valid()):
                raise SetupError(
                    f"`quality.{name}`: no turn of {version.uri} has a {measure}: remove the bound"
                )
        poor = poor | (value < bound if end == "min" else value > bound)
    with version.table("turns") as turns:
        return {key for batch in batches(turns, ["key"], poor) for key in batch["key"].to_pylist()}


def _turn_keys(key: str) -> list[str]:
    """Keys of the turns that a sample or pair is made of; none if it is only text."""
    match = re.match(r"([0-9a-f]{16})((?:-\d{5,})+)-", key)
    return [f"{match[1]}-{index}" for index in match[2].split("-")[1:]] if match else []


def write_table(file: Path, table: pa.Table) -> None:
    """Write a table as one batch that can be memory-mapped. The file exists completely or not at all."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    _replace(file, sink.getvalue())


def _replace(file: Path, content: Any) -> None:
    partial = file.with_name(f".{file.name}.{os.getpid()}-{os.urandom(4).hex()}")
    partial.write_bytes(content)
    partial.replace(file)
