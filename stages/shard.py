"""Write samples to WebDataset tar shards, and assign recordings to the train or validation split.

Shards are reproducible byte for byte: they contain no timestamps or owners, and their members are in a fixed
order.
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

VERSION = 2


class ShardConfig(Config):
    megabytes: float = Field(
        256,
        gt=0,
        description="maximum size of a shard in megabytes; a larger sample gets a shard of its own",
    )
    keep_audio: bool = Field(False, description="store the audio of every sample in the shards, as FLAC")
    validation_share: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="fraction of the groups (see `split_by`) in the validation split, 0 to 1",
    )
    split_seed: int = Field(0, description="seed of the random choice of validation groups")
    split_by: tuple[str, ...] = Field(
        ("speaker", "source"),
        description="sidecar fields that group recordings for the split, in order of preference: recordings "
        "with the same value of the first field that they have are in the same split; a recording without "
        "any of these fields is a group of its own",
    )


@dataclass(frozen=True)
class Entry:
    """The position of a sample in its shard."""

    key: str
    family: str
    offset: int
    """Offset in bytes of the header of the sample's first member from the start of the shard."""
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
    """The group that must stay in one split: the value of a sidecar field, or the recording itself."""
    for field in split_by:
        if sidecar.get(field) not in (None, "", [], {}):
            return f"{field}:{json.dumps(sidecar[field], sort_keys=True)}"
    return f"recording:{recording}"


def split_of(group: str, validation_share: float, seed: int) -> Literal["train", "validation"]:
    """The split of a group: its hash compared with a threshold, so that no group moves as the data grows."""
    return "validation" if hash_fraction(f"{seed}:{group}") < validation_share else "train"


def shard_prefix(sample: Sample | Pair, split: str, keep_audio: bool) -> str:
    """First part of the names of a sample's shards: all samples in shards of one prefix have the same
    members, as readers expect that take the members of the first samples for those of all.

    The split; with `-preference` for pairs and, where audio is stored, `-text` for samples without any.
    """
    if isinstance(sample, Pair):
        return f"{split}-preference"
    return f"{split}-text" if keep_audio and not sample.audio else split


def write_shards(
    samples: Iterable[Sample | Pair],
    directory: Path,
    prefix: str,
    first: int,
    config: ShardConfig,
    flac: Callable[[Sample], bytes | None] | None = None,
) -> Iterator[ShardFile]:
    """Write samples as `<prefix>-<index:06d>.tar` and yield each shard when it is complete.

    One shard is open and one sample is in memory at a time.

    Args:
        samples: samples of one `shard_prefix`, in the order of `shuffle_key`.
        directory: existing directory for the shards.
        prefix: first part of the file names.
        first: index of the first shard.
        config: size of shards, and whether to store audio.
        flac: returns the clips of a sample, concatenated and encoded as FLAC, or None if there are none.
            Called only if `config.keep_audio` is set.

    Raises:
        ValueError: samples are out of order or duplicated.
        OSError: a shard can't be written, for example because the disk is full.
    """
    shard: _Shard | None = None
    last = ""
    try:
        for sample in samples:
            if shuffle_key(sample.key) <= last:
                raise ValueError(
                    f"sample {sample.key} is a duplicate or is out of order: sort samples by `shuffle_key`"
                )
            last = shuffle_key(sample.key)
            audio = None
            if flac is not None and config.keep_audio and isinstance(sample, Sample):
                audio = flac(sample)
            files = members(sample, audio)
            size = sum(_member_bytes(content) for _, content in files)
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
    """The files of a sample: (suffix, content)."""
    files = [("json", json.dumps(_json_safe(sample.record), sort_keys=True, ensure_ascii=False).encode())]
    if isinstance(sample, Pair):
        sides = {"prompt": sample.prompt, "chosen": sample.chosen, "rejected": sample.rejected}
        return files + [(f"{name}.npy", _npy(ids.astype(np.int32))) for name, ids in sides.items()]
    files += [
        ("tokens.npy", _npy(sample.tokens.astype(np.int32))),
        ("loss.npy", _npy(sample.loss.astype(np.uint8))),
    ]
    return files + ([] if flac is None else [("flac", flac)])


class _HashingFile(io.RawIOBase):
    """A write-only file that keeps track of its length and sha256."""

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
    """A tar file that is being written."""

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


def _member_bytes(content: bytes) -> int:
    """Size of a tar member in bytes: a header block and the content, padded to whole blocks of 512 bytes."""
    return tarfile.BLOCKSIZE * (1 + math.ceil(len(content) / tarfile.BLOCKSIZE))


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _json_safe(value: Any) -> Any:
    """Replace what strict JSON readers reject: NaN and infinity with null, lone surrogates with `?`."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_json_safe(key): _json_safe(item) for key, item in value.items()}
    return [_json_safe(item) for item in value] if isinstance(value, (list, tuple)) else value
