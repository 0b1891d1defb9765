"""The turns in the shards of a version: their codes, text and, if kept, audio."""

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
    """A range of bytes in a file of the version."""

    path: str
    start: int
    size: int

    def read(self, version: Version) -> bytes:
        return version.store.read(self.path, self.start, self.start + self.size)


@dataclass(frozen=True)
class ShardTurn:
    name: str
    recording: str
    split: str
    text: str | None
    """Written by a person or a script; None for a recogniser's transcript."""
    language: str | None
    ids: ByteRange
    spans: tuple[tuple[int, int], ...]
    """Ranges of the ids, with markers and any text in between."""
    flac: ByteRange | None
    first: int
    """First sample in the audio, at 16 kHz."""
    end: int
    """Sample after the last."""

    def tokens(self, version: Version) -> Ids:
        """Numbers N of `<audio_N>`, whole groups."""
        ids: Ids = np.load(io.BytesIO(self.ids.read(version)))
        return audio_tokens(ids, self.spans, version.manifest.vocabulary["linguistic"]["first"])


def shard_turns(version: Version, splits: Sequence[str]) -> Iterator[ShardTurn]:
    """Every turn in the samples of these splits, once even if several samples contain it."""
    seen = set()
    for shard in version.manifest.shards:
        if shard.split in splits:
            path = version.path(shard.path)
            with version.store.open(path) as file:
                for turn in _of_shard(cast(BinaryIO, file), path, shard.split):
                    if turn.name not in seen:
                        seen.add(turn.name)
                        yield turn


def _of_shard(file: BinaryIO, path: str, split: str) -> Iterator[ShardTurn]:
    records: dict[str, Any] = {}
    members: dict[str, dict[str, ByteRange]] = {}
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            key, _, name = member.name.partition(".")
            members.setdefault(key, {})[name] = ByteRange(path, member.offset_data, member.size)
            if name == "json":
                records[key] = json.load(cast(BinaryIO, tar.extractfile(member)))
    for key, record in records.items():
        if "tokens.npy" in members[key]:  # else a preference pair
            yield from _of_record(record, members[key], split)


def _of_record(record: dict[str, Any], members: dict[str, ByteRange], split: str) -> Iterator[ShardTurn]:
    transcripts = {turn["index"]: turn.get("transcript") or {} for turn in record.get("turns", ())}
    end = 0
    for message in record["messages"]:
        for part in message["content"]:
            if part["type"] != "audio":
                continue
            first, end = end, end + round((part["end"] - part["start"]) * SAMPLE_RATE)
            transcript = transcripts.get(part["turn"], {})
            recognised = transcript.get("source", "model") == "model"
            track = f" track {part['track']}" if part["track"] else ""
            yield ShardTurn(
                name=f"{part['recording']}{track} {part['start']:.3f}-{part['end']:.3f}",
                recording=part["recording"],
                split=split,
                text=None if recognised else part["text"],
                language=transcript.get("language") or record.get("language"),
                ids=members["tokens.npy"],
                spans=tuple((a, b) for a, b in part["spans"]),
                flac=members.get("flac"),
                first=first,
                end=end,
            )
