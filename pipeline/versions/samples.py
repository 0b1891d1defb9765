"""The samples of a published version, read from its shards in order."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.versions.reader import Version
from schemas.manifest import Shard


@dataclass(frozen=True)
class PublishedSample:
    key: str
    record: dict[str, Any]
    """What `<key>.json` holds: `family`, `messages`, `source` and more."""
    arrays: dict[str, NDArray[Any]]
    """`tokens` (int32 [n]) and `loss` (uint8 [n], 1 where a token is a target); of a preference `prompt`,
    `chosen` and `rejected` (int32) instead."""
    audio: bytes | None
    """FLAC of the turns that the sample is made from, where the recipe set `shard.keep_audio`."""

    @property
    def family(self) -> str:
        return str(self.record["family"])

    @property
    def tokens(self) -> NDArray[np.int32]:
        """The ids that a model is trained on; of a preference its prompt and the chosen answer."""
        if "tokens" in self.arrays:
            return self.arrays["tokens"]
        return np.concatenate([self.arrays["prompt"], self.arrays["chosen"]])

    @property
    def rejected(self) -> NDArray[np.int32]:
        """Of a preference: its prompt and the rejected answer."""
        return np.concatenate([self.arrays["prompt"], self.arrays["rejected"]])


def samples(version: Version, split: str | None = None) -> Iterator[PublishedSample]:
    """The samples of a split (`train`, `validation`), or of all splits, one in memory at a time.

    Raises SetupError if a shard is missing.
    """
    for shard in version.manifest.shards:
        if split is None or shard.split == split:
            yield from samples_of(version, shard)


def samples_of(version: Version, shard: Shard) -> Iterator[PublishedSample]:
    """The samples of one shard. Raises SetupError if it is missing."""
    with version.local(shard.path) as path, tarfile.open(path) as archive:
        for key, members in groupby(archive, lambda member: member.name.partition(".")[0]):
            yield _sample(key, {m.name.partition(".")[2]: _read(archive, m) for m in members})


def _sample(key: str, files: dict[str, bytes]) -> PublishedSample:
    arrays = {
        name.removesuffix(".npy"): np.load(io.BytesIO(data))
        for name, data in files.items()
        if name.endswith(".npy")
    }
    return PublishedSample(key, json.loads(files["json"]), arrays, files.get("flac"))


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""
