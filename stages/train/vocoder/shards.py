"""Utterances of a version's shards: each audio part of a sample, with its codes and its part of
`<key>.flac`.
"""

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from schemas.errors import SetupError
from schemas.layout import audio_tokens
from stages.stage import SAMPLE_RATE
from stages.train.npy import elements_ahead
from stages.train.vocoder.shape import BLOCK, RATE
from stages.train.vocoder.utterances import VocoderUtterance

INDEX = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        # Recording, track and times: a turn that is in several samples is one utterance.
        pa.field("clip", pa.string(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
        # First byte in the shard, and number of bytes, of the sample's ids and of its audio.
        *(
            pa.field(f"{what}_{n}", pa.int64(), nullable=False)
            for n in ("tokens", "flac")
            for what in ("at", "n")
        ),
        # Position of the part's ids among the sample's: first, end, first, end, ..
        pa.field("spans", pa.list_(pa.int32()), nullable=False),
        # First and end sample within the sample's audio, at 16 kHz.
        pa.field("first", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
    ]
)
"""Columns of the index of a version's speech."""

_IDS = np.dtype(np.int32)

Read = Callable[[int, int, int], bytes]
"""(number of a shard, first byte, number of bytes) -> the bytes: passed in by the pipeline."""


def index_shard(file: BinaryIO, number: int) -> pa.Table:
    """Rows of `INDEX` for the audio parts of a shard's samples that have audio."""
    rows = []
    with tarfile.open(fileobj=file, mode="r:") as tar:
        members_of: dict[str, dict[str, tarfile.TarInfo]] = {}
        records = {}
        for member in tar:
            key, _, name = member.name.partition(".")
            members_of.setdefault(key, {})[name] = member
            if name == "json":
                records[key] = json.load(cast(BinaryIO, tar.extractfile(member)))
    for key, members in members_of.items():
        if "flac" not in members or "tokens.npy" not in members:
            continue
        ranges = {
            f"{what}_{name}": value
            for name in ("tokens", "flac")
            for what, value in zip(("at", "n"), _byte_range(members, name), strict=True)
        }
        parts = [
            part
            for message in records[key]["messages"]
            for part in message["content"]
            if part["type"] == "audio"
        ]
        end = 0
        for n, part in enumerate(parts):
            first, end = end, end + round((part["end"] - part["start"]) * SAMPLE_RATE)
            rows.append(
                {
                    "key": f"{key}-{n}",
                    "clip": f"{part['recording']} {part['track']} {part['start']} {part['end']}",
                    "shard": number,
                    **ranges,
                    "spans": [edge for span in part["spans"] for edge in span],
                    "first": first,
                    "end": end,
                }
            )
    return pa.Table.from_pylist(rows, schema=INDEX)


def _byte_range(members: dict[str, tarfile.TarInfo], name: str) -> tuple[int, int]:
    member = members["tokens.npy" if name == "tokens" else name]
    return member.offset_data, member.size


def _tokens(row: dict[str, Any]) -> int:
    """Number of tokens of an audio part, without its two markers."""
    return int(sum(row["spans"][1::2]) - sum(row["spans"][::2]) - 2)


class ShardUtterances:
    """`Utterances` of an index: each utterance of at least one block once, read by range."""

    def __init__(self, index: pa.Table, read: Read, first_id: int) -> None:
        """`first_id` is the id of `<audio_0>`, linguistic code 0."""
        by_clip = {row["clip"]: row for row in reversed(index.to_pylist()) if _tokens(row) >= BLOCK}
        self._rows = sorted(by_clip.values(), key=lambda row: str(row["key"]))
        self._read = read
        self._first_id = first_id

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, number: int) -> VocoderUtterance:
        """Raises SetupError if the audio can't be read, because the version is damaged."""
        import soundfile
        import soxr

        row = self._rows[number]
        stored = io.BytesIO(self._read(row["shard"], row["at_tokens"], row["n_tokens"]))
        count = elements_ahead(stored, f"{row['key']}.tokens.npy", _IDS)
        ids = np.frombuffer(stored.read(), _IDS, count)
        spans = zip(row["spans"][::2], row["spans"][1::2], strict=True)
        tokens = audio_tokens(ids, spans, self._first_id)
        audio = io.BytesIO(self._read(row["shard"], row["at_flac"], row["n_flac"]))
        try:
            samples, rate = soundfile.read(audio, start=row["first"], stop=row["end"], dtype="float32")
        except soundfile.LibsndfileError as error:
            raise SetupError(
                f"the audio of {row['key']} can't be read: {error}; run `aqaa-data versions verify`"
            ) from None
        return VocoderUtterance(row["key"], tokens, soxr.resample(samples, rate, RATE))
