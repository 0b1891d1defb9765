"""What the starting weights say of preference pairs, computed once and kept: no second model in memory."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from schemas.vocabulary import Modality
from stages.train.batch import Batch
from stages.train.dpo import MODALITIES, Sides
from stages.train.folder import written
from stages.train.parallel import World

COLUMNS = [f"{side}_{modality.name.lower()}" for side in ("chosen", "rejected") for modality in Modality]
"""Sums of log-probabilities."""


class ReferenceLogProbs:
    """logps_2M of pairs, by key."""

    def __init__(self, file: Path) -> None:
        table = pq.read_table(file)
        self._row = {key: row for row, key in enumerate(table["key"].to_pylist())}
        columns = [torch.from_numpy(table[name].to_numpy().copy()) for name in COLUMNS]
        self._logps_P2M = torch.stack(columns, dim=-1).view(-1, 2, MODALITIES)

    def of(self, keys: Sequence[str]) -> Tensor:
        """logps_P2M of some pairs, in their order."""
        return self._logps_P2M[[self._row[key] for key in keys]]


@torch.no_grad()
def compute(file: Path, batches: Iterable[Batch], sides: Callable[[Batch], Sides], world: World) -> None:
    """Write the sums of all pairs, of which this process has its share as `batches`."""
    keys: list[str] = []
    found = []
    for batch in batches:
        keys += batch.pair_keys
        found.append(sides(batch).logps_P2M.flatten(1).float().cpu())
    rows: dict[str, list[float]] = {}
    for theirs, sums in world.gather((keys, torch.cat(found).tolist())):
        rows |= dict(zip(theirs, sums, strict=True))

    def write(path: Path) -> None:
        columns = torch.tensor(list(rows.values())).T.numpy()
        pq.write_table(pa.table({"key": list(rows), **dict(zip(COLUMNS, columns, strict=True))}), path)

    world.first(lambda: written(file, write))
