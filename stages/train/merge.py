"""The weighted mean of checkpoints (Step-Audio-AQAA: W = (5 SFT1 + 5 SFT2 + 1 DPO) / 11).

Tensors are read and written one piece at a time, so that a small machine can merge checkpoints of any size.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schemas.errors import SetupError
from stages.train.checkpoint import VOCABULARY, read_shape
from stages.train.model import CONFIG
from stages.train.shape import is_step1_config
from stages.train.weights import INDEX, SafetensorsFolder, Spec, sha256_of, write_weights

RECORD = "merge.json"
PIECE_BYTES = 64 * 1024 * 1024
"""Bytes of a tensor in float32 that are in memory at once, per input."""

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_SAME = (CONFIG, VOCABULARY, *_TOKENIZER)
"""Files that must be equal in all inputs. Those of older versions have no tokenizer."""


@dataclass(frozen=True)
class WeightedCheckpoint:
    """A checkpoint and its weight in the mean."""

    directory: Path
    weight: float
    origin: str | None = None
    """What the merge's record calls it, if its folder is a copy."""

    @property
    def name(self) -> str:
        return self.origin or str(self.directory.resolve())


def merge(checkpoints: Sequence[WeightedCheckpoint], directory: Path) -> dict[str, Any]:
    """Write sum(weight * tensor) / sum(weight), added up in float32 in the order of `checkpoints` and
    written in the precision of the inputs; returns the content of `merge.json`. Raises SetupError for
    checkpoints that don't match, naming the first difference, before anything is written."""
    total = sum(checkpoint.weight for checkpoint in checkpoints)
    if len(checkpoints) < 2 or total <= 0 or any(checkpoint.weight < 0 for checkpoint in checkpoints):
        raise SetupError(
            "a merge needs at least two checkpoints, with weights of at least 0 that are not all 0"
        )
    if directory.exists():
        raise SetupError(f"{directory} already exists: name a new folder")
    opened = [SafetensorsFolder(checkpoint.directory) for checkpoint in checkpoints]
    for weights in opened[1:]:
        _refuse_difference(opened[0], weights)

    def pieces(spec: Spec) -> Iterator[Tensor]:
        for start, end in _slices(spec):
            yield _mean(
                [w.rows(spec.name, start, end) for w in opened], [c.weight for c in checkpoints], total
            )

    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    written = write_weights(partial, list(opened[0].specs.values()), pieces)
    weights_files = {*opened[0].files, *(checkpoints[0].directory / name for name in (INDEX, RECORD))}
    for file in sorted(set(checkpoints[0].directory.iterdir()) - weights_files):
        if file.is_file():
            shutil.copy(file, partial / file.name)
    record = {
        "inputs": [
            {
                "directory": checkpoint.name,
                "weight": checkpoint.weight,
                "sha256": {file.name: sha256_of(file) for file in _recorded(weights)},
            }
            for checkpoint, weights in zip(checkpoints, opened, strict=True)
        ],
        "outputs": {file.name: sha256_of(file) for file in written},
    }
    (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    partial.rename(directory)
    return record


def _mean(tensors: list[Tensor], weights: list[float], total: float) -> Tensor:
    mean = torch.zeros(tensors[0].shape, dtype=torch.float32)
    for tensor, weight in zip(tensors, weights, strict=True):
        mean += tensor.float() * weight
    return mean / total


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
            raise SetupError(f"can't merge {pair}: {name} is in {has.directory} but not in {lacks.directory}")
        if a.shape != b.shape:
            raise SetupError(f"can't merge {pair}: {name} is {list(a.shape)} and {list(b.shape)}")
        if a.dtype != b.dtype:
            raise SetupError(f"can't merge {pair}: {name} is {_name_of(a.dtype)} and {_name_of(b.dtype)}")
    for name in _SAME:
        contents = [_content(weights.directory / name) for weights in (first, other)]
        if contents[0] != contents[1] and not (name in _TOKENIZER and None in contents):
            raise SetupError(f"can't merge {pair}: {name} differs{_difference(*contents)}")


def _content(file: Path) -> Any:
    """The content of a JSON file, ignoring whitespace and order; None if the file doesn't exist. Of a Step-1
    config, which has had other fields in older versions, it is the shape."""
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise SetupError(f"{file} is not valid JSON: {error}") from None
    is_shape = file.name == CONFIG and is_step1_config(content)
    return asdict(read_shape(file.parent)) if is_shape else content


def _difference(a: Any, b: Any) -> str:
    if a is None or b is None:
        return ": only one has it"
    if isinstance(a, dict) and isinstance(b, dict):
        key = next(key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key))
        return (
            f" in {key}{_difference(a.get(key), b.get(key))}"
            if isinstance(a.get(key), dict)
            else f" in {key}"
        )
    return ""


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _recorded(weights: SafetensorsFolder) -> list[Path]:
    same = (weights.directory / name for name in _SAME)
    return [*weights.files, *(file for file in same if file.exists())]
