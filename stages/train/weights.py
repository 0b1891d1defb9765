"""Weights on disk: a folder of safetensors files in Hugging Face's layout, written and read in pieces."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from schemas.errors import SetupError

FILE_BYTES = 5_000_000_000
"""Maximum size of a file of weights, unless a single tensor is larger."""
INDEX = "model.safetensors.index.json"

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class Spec:
    """Name, type and shape of a tensor."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.dtype.itemsize


def spec_of(name: str, tensor: Tensor, dtype: torch.dtype | None = None) -> Spec:
    return Spec(name, dtype or tensor.dtype, tuple(tensor.shape))


def write_weights(
    directory: Path,
    specs: Sequence[Spec],
    pieces: Callable[[Spec], Iterable[Tensor]],
    file_bytes: int = FILE_BYTES,
) -> list[Path]:
    """Write tensors in order; returns the files. `pieces` yields the rows of a tensor in order, some at a
    time, so that no tensor needs to be in memory completely."""
    files = _divided(specs, file_bytes)
    names = [
        "model.safetensors" if len(files) == 1 else f"model-{n:05d}-of-{len(files):05d}.safetensors"
        for n in range(1, len(files) + 1)
    ]
    for name, contained in zip(names, files, strict=True):
        _write_file(directory / name, contained, pieces)
    written = [directory / name for name in names]
    if len(files) > 1:
        file_of = {
            spec.name: name for name, contained in zip(names, files, strict=True) for spec in contained
        }
        index = {"metadata": {"total_size": sum(spec.bytes for spec in specs)}, "weight_map": file_of}
        (directory / INDEX).write_text(json.dumps(index, indent=1))
        written.append(directory / INDEX)
    return written


def _divided(specs: Sequence[Spec], file_bytes: int) -> list[list[Spec]]:
    files: list[list[Spec]] = []
    space_left = 0
    for spec in specs:
        if not files or spec.bytes > space_left:
            files.append([])
            space_left = file_bytes
        files[-1].append(spec)
        space_left -= spec.bytes
    return files


def _write_file(path: Path, specs: Sequence[Spec], pieces: Callable[[Spec], Iterable[Tensor]]) -> None:
    """Write one file: the length of the header in 8 bytes, the header as JSON, the data."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for spec in specs:
        offsets = [at, at + spec.bytes]
        header[spec.name] = {"dtype": _NAMES[spec.dtype], "shape": spec.shape, "data_offsets": offsets}
        at += spec.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # readers map the file, so the data must be aligned
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for spec in specs:
            for piece in pieces(spec):
                data: Any = piece.to(spec.dtype).contiguous().flatten().view(torch.uint8).numpy()
                out.write(data)
        if out.tell() != 8 + len(text) + at:
            raise ValueError(f"{path}: the pieces of a tensor don't add up to its size")


class SafetensorsFolder:
    """The tensors of a folder, read from its memory-mapped files on demand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = _files(directory)
        self.specs: dict[str, Spec] = {}
        self._file_of: dict[str, Any] = {}
        for path in self.files:
            try:
                file = safe_open(path, framework="pt")
            except Exception as error:
                raise SetupError(f"{path} is not a readable safetensors file: {error}") from None
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                part = file.get_slice(name)
                if part.get_dtype() not in _DTYPES:
                    raise SetupError(
                        f"{path}: {name} is {part.get_dtype()}, which is not supported for weights"
                    )
                self.specs[name] = Spec(name, _DTYPES[part.get_dtype()], tuple(part.get_shape()))
                self._file_of[name] = file

    def rows(self, name: str, start: int, end: int) -> Tensor:
        """Rows `start` to `end` of a tensor, along its first dimension."""
        rows: Tensor = self._file_of[name].get_slice(name)[start:end]
        return rows

    def part(self, name: str, region: tuple[slice, ...]) -> Tensor:
        part: Tensor = self._file_of[name].get_slice(name)[region]
        return part

    def tensor(self, name: str) -> Tensor:
        tensor: Tensor = self._file_of[name].get_tensor(name)
        return tensor


class LoadedTensors:
    """Tensors that are in memory, read as those of a folder."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self.specs = {name: spec_of(name, tensor) for name, tensor in tensors.items()}

    def rows(self, name: str, start: int, end: int) -> Tensor:
        return self._tensors[name][start:end]

    def tensor(self, name: str) -> Tensor:
        return self._tensors[name]


def sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _files(directory: Path) -> list[Path]:
    index = directory / INDEX
    if not index.exists():
        names = ["model.safetensors"]
    else:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    for name in names:
        if not (directory / name).is_file():
            raise SetupError(
                f"{directory} has no {name}: a checkpoint is a folder with config.json and weights"
            )
    return [directory / name for name in names]


def write_tensors(
    directory: Path,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
    file_bytes: int = FILE_BYTES,
) -> list[Path]:
    """Write tensors that are in memory, converted to `dtype` if given."""
    specs = [spec_of(name, tensor, dtype) for name, tensor in tensors.items()]
    return write_weights(directory, specs, lambda spec: [tensors[spec.name].detach().cpu()], file_bytes)
