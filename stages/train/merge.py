"""The weighted mean of checkpoints (Step-Audio-AQAA: W = (5 SFT1 + 5 SFT2 + 1 DPO) / 11).

Tensors pass through memory a piece at a time, so checkpoints of any size merge on a small machine.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schemas.errors import SetupError
from stages.train.checkpoint import VOCABULARY
from stages.train.model import CONFIG
from stages.train.weights import SafetensorsFolder, Spec, write_weights

RECORD = "merge.json"
PIECE_BYTES = 64 * 1024 * 1024
"""Of a tensor in float32, in memory at once, for each input."""

_SAME = (CONFIG, VOCABULARY, "tokenizer.json", "tokenizer_config.json")
"""Files that must be equal, where there are any, and that the merged checkpoint takes over."""


@dataclass(frozen=True)
class WeightedCheckpoint:
    """One checkpoint and how much of it."""

    directory: Path
    weight: float


def merge(parts: Sequence[WeightedCheckpoint], directory: Path) -> dict[str, Any]:
    """Write sum(weight * tensor) / sum(weight), added up in float32 in the order of `parts` and written in
    the precision of the inputs; returns what `merge.json` records. Raises SetupError for checkpoints that
    don't fit, naming the first difference, before anything is written."""
    total = sum(part.weight for part in parts)
    if len(parts) < 2 or total <= 0 or any(part.weight < 0 for part in parts):
        raise SetupError(
            "a merge takes at least two checkpoints, with weights of at least 0 that are not all 0"
        )
    if directory.exists():
        raise SetupError(f"{directory} is there already: name a new folder")
    opened = [SafetensorsFolder(part.directory) for part in parts]
    for weights in opened[1:]:
        _refuse_difference(opened[0], weights)

    def pieces(spec: Spec) -> Iterator[Tensor]:
        for start, end in _slices(spec):
            yield _mean([w.rows(spec.name, start, end) for w in opened], [p.weight for p in parts], total)

    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    written = write_weights(partial, list(opened[0].specs.values()), pieces)
    for name in _SAME:
        if (parts[0].directory / name).exists():
            shutil.copy(parts[0].directory / name, partial / name)
    record = {
        "inputs": [
            {
                "directory": str(part.directory.resolve()),
                "weight": part.weight,
                "sha256": {file.name: _sha256(file) for file in _recorded(weights)},
            }
            for part, weights in zip(parts, opened, strict=True)
        ],
        "outputs": {file.name: _sha256(file) for file in written},
    }
    (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    partial.rename(directory)
    return record


def _mean(tensors: list[Tensor], weights: list[float], total: float) -> Tensor:
    found = torch.zeros(tensors[0].shape, dtype=torch.float32)
    for tensor, weight in zip(tensors, weights, strict=True):
        found += tensor.float() * weight
    return found / total


def _slices(spec: Spec) -> Iterator[tuple[int, int]]:
    """Rows of each piece of a tensor."""
    rows = spec.shape[0]
    row_bytes = 4 * spec.elements // max(1, rows)
    step = max(1, PIECE_BYTES // max(1, row_bytes))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _refuse_difference(first: SafetensorsFolder, other: SafetensorsFolder) -> None:
    pair = f"{first.directory} and {other.directory}"
    for name in sorted(first.specs.keys() | other.specs.keys()):
        a, b = first.specs.get(name), other.specs.get(name)
        if a is None or b is None:
            has, lacks = (other, first) if a is None else (first, other)
            raise SetupError(f"can't merge {pair}: {name} is in {has.directory} and not in {lacks.directory}")
        if a.shape != b.shape:
            raise SetupError(f"can't merge {pair}: {name} is {list(a.shape)} and {list(b.shape)}")
        if a.dtype != b.dtype:
            raise SetupError(f"can't merge {pair}: {name} is {_said(a.dtype)} and {_said(b.dtype)}")
    for name in _SAME:
        contents = [_content(weights.directory / name) for weights in (first, other)]
        if contents[0] != contents[1]:
            raise SetupError(f"can't merge {pair}: {name} differs{_where(*contents)}")


def _content(file: Path) -> Any:
    """What a JSON file says, whatever its spaces and order; None where there is none."""
    if not file.exists():
        return None
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise SetupError(f"{file} is no JSON: {error}") from None


def _where(a: Any, b: Any) -> str:
    if a is None or b is None:
        return ": only one has it"
    if isinstance(a, dict) and isinstance(b, dict):
        key = next(key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key))
        return f" in {key}{_where(a.get(key), b.get(key))}" if isinstance(a.get(key), dict) else f" in {key}"
    return ""


def _said(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _recorded(weights: SafetensorsFolder) -> list[Path]:
    same = (weights.directory / name for name in _SAME)
    return [*weights.files, *(file for file in same if file.exists())]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
