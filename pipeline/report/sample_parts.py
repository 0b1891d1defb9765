"""The content of a stored sample, divided into prompt and target by its loss mask."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.storage.store import Store


@dataclass(frozen=True)
class SamplePart:
    """A text or an utterance of a sample."""

    role: str
    kind: str
    """`text` or `audio`."""
    text: str
    seconds: float
    """Of audio; 0 for text."""
    target: bool
    """Whether the model is trained to produce it; else it is part of the prompt."""


PartsOf = Callable[[dict[str, Any]], list[SamplePart]]
"""The parts of the sample of an index row."""


def stored_parts(dataset: Store, folder: str) -> PartsOf:
    """Reads the parts of samples from the shards of the version in `folder`.

    Samples that the report shows are near the start of their shard, as shards are sorted by the hash that
    they are chosen by, so little of a shard is read.
    """

    def parts_of(row: dict[str, Any]) -> list[SamplePart]:
        members: dict[str, bytes] = {}
        with dataset.open(f"{folder}/{row['shard']}") as file, tarfile.open(fileobj=file, mode="r:") as shard:
            for member in shard:
                key, _, kind = member.name.partition(".")
                if key == row["key"] and kind in ("json", "loss.npy"):
                    content = shard.extractfile(member)
                    members[kind] = content.read() if content else b""
                elif members and key != row["key"]:
                    break
        record = json.loads(members["json"])
        if "loss.npy" not in members:
            return pair_parts(record)
        return parts(record, np.load(io.BytesIO(members["loss.npy"])))

    return parts_of


def parts(record: dict[str, Any], loss: NDArray[np.uint8]) -> list[SamplePart]:
    """The parts of a sample from its record and its loss mask ([tokens], 1 where a token is a target)."""
    return [
        _part(part, message["role"] or "", any(bool(loss[first:end].any()) for first, end in part["spans"]))
        for message in record["messages"]
        for part in message["content"]
    ]


def pair_parts(record: dict[str, Any]) -> list[SamplePart]:
    """The parts of a preference pair: its prompt, the chosen answer as the target, and the rejected one."""
    prompt = [
        _part(part, message["role"] or "", False)
        for message in record["messages"]
        for part in message["content"]
    ]
    answers = [
        _part(part, f"{name} answer", name == "chosen")
        for name in ("chosen", "rejected")
        for part in record[name]["content"]
    ]
    return prompt + answers


def _part(part: dict[str, Any], role: str, target: bool) -> SamplePart:
    seconds = part["end"] - part["start"] if part["type"] == "audio" else 0.0
    return SamplePart(role, part["type"], part["text"] or "", seconds, target)
