"""Turns of a version's shards: their codes, their audio where it was kept, and what is said in them."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np

from pipeline.versions.reader import Version
from schemas.layout import audio_tokens
from schemas.vocabulary import Ids
from stages.stage import SAMPLE_RATE


@dataclass(frozen=True)
class ByteRange:
    """Bytes of a file of the version."""

    path: str
    first: int
    size: int

    def read(self, version: Version) -> bytes:
        return version.store.read(self.path, self.first, self.first + self.size)


@dataclass(frozen=True)
class ShardTurn:
    name: str
    recording: str
    split: str
    text: str | None
    """Where a person or a script says it; a recogniser's is none."""
    language: str | None
    ids: ByteRange
    spans: tuple[tuple[int, int], ...]
    """Of the ids, with markers and whatever text stands between."""
    flac: ByteRange | None
    first: int
    """Sample of the audio, at 16 kHz."""
    end: int

    def tokens(self, version: Version) -> Ids:
        """Numbers N of `<audio_N>`, whole groups."""
        ids: Ids = np.load(io.BytesIO(self.ids.read(version)))
        return audio_tokens(ids, self.spans, version.manifest.vocabulary["linguistic"]["first"])


def shard_turns(version: Version, parts: Sequence[str]) -> Iterator[ShardTurn]:
    """Every turn in the samples of some splits once, whichever sample it stands in first."""
    seen = set()
    for shard in version.manifest.shards:
        if shard.split in parts:
            path = version.path(shard.path)
            with version.store.open(path) as file:
                for turn in _of_shard(cast(BinaryIO, file), path, shard.split):
                    if turn.name not in seen:
                        seen.add(turn.name)
                        yield turn


def _of_shard(file: BinaryIO, path: str, part: str) -> Iterator[ShardTurn]:
    records: dict[str, Any] = {}
    places: dict[str, dict[str, ByteRange]] = {}
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            key, _, name = member.name.partition(".")
            places.setdefault(key, {})[name] = ByteRange(path, member.offset_data, member.size)
            if name == "json":
                records[key] = json.load(cast(BinaryIO, tar.extractfile(member)))
    for key, record in records.items():
        if "tokens.npy" in places[key]:  # else a preference pair
            yield from _of_record(record, places[key], part)


def _of_record(record: dict[str, Any], places: dict[str, ByteRange], part: str) -> Iterator[ShardTurn]:
    transcripts = {turn["index"]: turn.get("transcript") or {} for turn in record.get("turns", ())}
    end = 0
    for message in record["messages"]:
        for said in message["content"]:
            if said["type"] != "audio":
                continue
            first, end = end, end + round((said["end"] - said["start"]) * SAMPLE_RATE)
            transcript = transcripts.get(said["turn"], {})
            heard = transcript.get("source", "model") == "model"
            track = f" track {said['track']}" if said["track"] else ""
            yield ShardTurn(
                name=f"{said['recording']}{track} {said['start']:.3f}-{said['end']:.3f}",
                recording=said["recording"],
                split=part,
                text=None if heard else said["text"],
                language=transcript.get("language") or record.get("language"),
                ids=places["tokens.npy"],
                spans=tuple((a, b) for a, b in said["spans"]),
                flac=places.get("flac"),
                first=first,
                end=end,
            )
