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
from stages.train.vocoder.shape import BLOCK, RATE
from stages.train.vocoder.utterances import VocoderUtterance

INDEX = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        # Recording, track and times: a turn that stands in several samples is one utterance.
        pa.field("clip", pa.string(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
        # First byte in the shard and number of bytes of the sample's ids and of its audio.
        *(
            pa.field(f"{what}_{n}", pa.int64(), nullable=False)
            for n in ("tokens", "flac")
            for what in ("at", "n")
        ),
        # Where the part's ids stand among the sample's: first, end, first, end, ..
        pa.field("spans", pa.list_(pa.int32()), nullable=False),
        # Samples of the audio, at 16 kHz.
        pa.field("first", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
    ]
)
"""Columns of the index of a version's speech."""

Read = Callable[[int, int, int], bytes]
"""(number of a shard, first byte, bytes) -> the bytes: the pipeline hands it in."""


def index_shard(file: BinaryIO, number: int) -> pa.Table:
    """Rows of `INDEX` for the audio parts of a shard, of samples that keep their audio."""
    rows = []
    with tarfile.open(fileobj=file, mode="r:") as tar:
        found: dict[str, dict[str, tarfile.TarInfo]] = {}
        records = {}
        for member in tar:
            key, _, name = member.name.partition(".")
            found.setdefault(key, {})[name] = member
            if name == "json":
                records[key] = json.load(cast(BinaryIO, tar.extractfile(member)))
    for key, members in found.items():
        if "flac" not in members or "tokens.npy" not in members:
            continue
        places = {
            f"{what}_{name}": value
            for name in ("tokens", "flac")
            for what, value in zip(("at", "n"), _place(members, name), strict=True)
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
                    **places,
                    "spans": [edge for span in part["spans"] for edge in span],
                    "first": first,
                    "end": end,
                }
            )
    return pa.Table.from_pylist(rows, schema=INDEX)


def _place(members: dict[str, tarfile.TarInfo], name: str) -> tuple[int, int]:
    member = members["tokens.npy" if name == "tokens" else name]
    return member.offset_data, member.size


def _tokens(row: dict[str, Any]) -> int:
    """Of an audio part, without its two markers."""
    return int(sum(row["spans"][1::2]) - sum(row["spans"][::2]) - 2)


class ShardUtterances:
    """`Utterances` of an index: each utterance of at least a block once, read where it lies."""

    def __init__(self, index: pa.Table, read: Read, first_id: int) -> None:
        """`first_id` is the id of `<audio_0>`, linguistic code 0."""
        spoken = {row["clip"]: row for row in reversed(index.to_pylist()) if _tokens(row) >= BLOCK}
        self._rows = sorted(spoken.values(), key=lambda row: str(row["key"]))
        self._read = read
        self._first_id = first_id

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, number: int) -> VocoderUtterance:
        """Raises SetupError for audio that can't be read: the version is damaged."""
        import soundfile
        import soxr

        row = self._rows[number]
        ids = np.load(io.BytesIO(self._read(row["shard"], row["at_tokens"], row["n_tokens"])))
        spans = zip(row["spans"][::2], row["spans"][1::2], strict=True)
        tokens = audio_tokens(ids, spans, self._first_id)
        sound = io.BytesIO(self._read(row["shard"], row["at_flac"], row["n_flac"]))
        try:
            samples, rate = soundfile.read(sound, start=row["first"], stop=row["end"], dtype="float32")
        except soundfile.LibsndfileError as error:
            raise SetupError(
                f"the audio of {row['key']} can't be read: {error}; verify the version"
            ) from None
        return VocoderUtterance(row["key"], tokens, soxr.resample(samples, rate, RATE))
