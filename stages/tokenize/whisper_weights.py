"""The weights of a Whisper model in CTranslate2 format, as tensors for torch.

The file `model.bin` is little-endian: a version, the name and revision of the model's specification, then
each variable with its name, shape, type and bytes, and last the aliases of variables.
"""

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schemas.errors import SetupError

SPECIFICATION = "WhisperSpec"
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def weights_sha256(directory: Path) -> str:
    """Hash of the file of weights. Raises SetupError if there is none."""
    path = directory / "model.bin"
    if not path.is_file():
        raise SetupError(f"{directory} has no model.bin: a Whisper model in CTranslate2 format is needed")
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def read_whisper(directory: Path) -> dict[str, Tensor]:
    """Float32 tensors by CTranslate2's names, and integers such as `encoder/num_heads`.

    Raises SetupError if the file is missing, damaged, of another kind of model, or quantized to integers.
    """
    path = directory / "model.bin"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path} can't be read: {error}") from error
    try:
        specification, variables = _parsed(content)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise SetupError(f"{path} is damaged or not a model in CTranslate2 format: {error}") from error
    if specification != SPECIFICATION:
        raise SetupError(f"{path} is a {specification}, not a Whisper model ({SPECIFICATION})")
    if any(array.dtype == np.int8 and array.size > 1 for array in variables.values()):
        raise SetupError(f"{path} is quantized to int8: a model in float16 or float32 is needed")
    return {name: torch.from_numpy(_exact(array)) for name, array in variables.items()}


def _exact(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32 if array.dtype == np.float16 else array.dtype)


def _parsed(content: bytes) -> tuple[str, dict[str, np.ndarray]]:
    """The name of the specification, and the variables."""
    reader = _Reader(content)
    reader.number("I")  # version of the format
    specification = reader.text()
    reader.number("I")  # revision of the specification
    return specification, dict(reader.variables(reader.number("I")))


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from(f"<{kind}", self._content, self._at)
        self._at += struct.calcsize(f"<{kind}")
        return int(value)

    def text(self) -> str:
        """A string with its length before it and a zero behind it."""
        size = self.number("H")
        text = self._content[self._at : self._at + size - 1].decode()
        self._at += size
        return text

    def variables(self, count: int) -> Iterator[tuple[str, np.ndarray]]:
        for _ in range(count):
            name = self.text()
            shape = [self.number("I") for _ in range(self.number("B"))]
            kind: np.dtype[Any] = np.dtype(TYPES[self.number("B")])
            size = self.number("I")
            array = np.frombuffer(self._content, kind, size // kind.itemsize, self._at)
            self._at += size
            yield name, array.reshape(shape)
