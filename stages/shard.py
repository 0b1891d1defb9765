"""Samples into tar shards that WebDataset reads, and which split a recording falls into.

A shard's bytes depend on its samples alone: no times, no owners, members in one order.
"""

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.hashing import hash_fraction, shuffle_key
from schemas.sample import Pair, Sample
from stages.stage import Config

VERSION = 1


class ShardConfig(Config):
    megabytes: float = Field(
        256, gt=0, description="size that a shard doesn't exceed, but for one larger sample"
    )
    keep_audio: bool = Field(False, description="put the audio of every sample into the shards, as FLAC")
    validation_share: float = Field(0.02, ge=0, lt=1, description="share of groups held out, 0..1")
    split_seed: int = Field(0, description="another number, another draw of the held-out groups")
    split_by: tuple[str, ...] = Field(
        ("speaker", "source"),
        description="sidecar fields whose value is never on both sides of the split, the first that a "
        "recording has; without any, the recording itself",
    )


@dataclass(frozen=True)
class Entry:
    """Where a sample lies."""

    key: str
    family: str
    offset: int
    """Bytes from the start of the shard to its first member's header."""
    bytes: int
    tokens: int


@dataclass(frozen=True)
class ShardFile:
    """A finished shard."""

    path: Path
    bytes: int
    sha256: str
    entries: tuple[Entry, ...]

    @property
    def samples(self) -> int:
        return len(self.entries)


def group_of(recording: str, sidecar: dict[str, Any], split_by: Sequence[str]) -> str:
    """What must stay in one split: the value of a sidecar field, or else the recording."""
    for field in split_by:
        if sidecar.get(field) not in (None, "", [], {}):
            return f"{field}:{json.dumps(sidecar[field], sort_keys=True)}"
    return f"recording:{recording}"


def split_of(group: str, validation_share: float, seed: int) -> Literal["train", "validation"]:
    """The split of a group: its hash against a threshold, so that a growing dataset moves no group."""
    return "validation" if hash_fraction(f"{seed}:{group}") < validation_share else "train"


def write_shards(
    samples: Iterable[Sample | Pair],
    directory: Path,
    prefix: str,
    first: int,
    config: ShardConfig,
    flac: Callable[[Sample], bytes | None] | None = None,
) -> Iterator[ShardFile]:
    """Write samples, in the order of `shuffle_key`, as `<prefix>-<index:06d>.tar`, from index `first`;
    yields each shard when it is done.

    One shard is open and one sample in memory at a time. `flac` returns the audio of a sample's clips
    one after another, None where there is none; it is asked where the config keeps audio. Raises
    ValueError for samples out of order or twice, OSError where the disk is full.
    """
    shard: _Shard | None = None
    last = ""
    try:
        for sample in samples:
            if shuffle_key(sample.key) <= last:
                raise ValueError(f"sample {sample.key} comes twice or is not in the order of `shuffle_key`")
            last = shuffle_key(sample.key)
            sound = None
            if flac is not None and config.keep_audio and isinstance(sample, Sample):
                sound = flac(sample)
            files = members(sample, sound)
            size = sum(_in_tar(content) for _, content in files)
            if shard is not None and shard.file.bytes + size > config.megabytes * 1e6:
                yield shard.close()
                first, shard = first + 1, None
            shard = shard or _Shard(directory / f"{prefix}-{first:06d}.tar")
            shard.add(sample, files)
        if shard is not None:
            yield shard.close()
    finally:
        if shard is not None:
            shard.file.close()


def members(sample: Sample | Pair, flac: bytes | None = None) -> list[tuple[str, bytes]]:
    """Name and content of a sample's files."""
    found = [("json", json.dumps(_clean(sample.record), sort_keys=True, ensure_ascii=False).encode())]
    if isinstance(sample, Pair):
        sides = {"prompt": sample.prompt, "chosen": sample.chosen, "rejected": sample.rejected}
        return found + [(f"{name}.npy", _npy(ids.astype(np.int32))) for name, ids in sides.items()]
    found += [
        ("tokens.npy", _npy(sample.tokens.astype(np.int32))),
        ("loss.npy", _npy(sample.loss.astype(np.uint8))),
    ]
    return found + ([] if flac is None else [("flac", flac)])


class _HashingFile(io.RawIOBase):
    """A file that knows its length and sha256 while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self.sha256 = hashlib.sha256()
        self._file = path.open("wb")

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.bytes

    def write(self, data: Any) -> int:
        self._file.write(data)
        self.sha256.update(data)
        self.bytes += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Shard:
    """A tar in the making."""

    def __init__(self, path: Path) -> None:
        self.file = _HashingFile(path)
        self._tar = tarfile.open(fileobj=self.file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self._entries: list[Entry] = []

    def add(self, sample: Sample | Pair, files: Sequence[tuple[str, bytes]]) -> None:
        offset = self.file.bytes
        for name, content in files:
            info = tarfile.TarInfo(f"{sample.key}.{name}")
            info.size = len(content)
            self._tar.addfile(info, io.BytesIO(content))
        self._entries.append(
            Entry(sample.key, sample.family, offset, self.file.bytes - offset, len(sample.tokens))
        )

    def close(self) -> ShardFile:
        self._tar.close()
        self.file.close()
        return ShardFile(self.file.path, self.file.bytes, self.file.sha256.hexdigest(), tuple(self._entries))


def _in_tar(content: bytes) -> int:
    """Bytes of a member: a header and whole blocks of 512."""
    return tarfile.BLOCKSIZE * (1 + math.ceil(len(content) / tarfile.BLOCKSIZE))


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _clean(value: Any) -> Any:
    """Plain JSON that every reader takes: no NaN, no half characters."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, (list, tuple)) else value
