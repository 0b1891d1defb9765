"""Looking up samples, turns and recordings of a published version."""

import difflib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.versions.reader import Version
from schemas.errors import SetupError
from schemas.sample import turns_in

Row = dict[str, Any]


@dataclass(frozen=True)
class StoredSample:
    """A sample as stored in its shard."""

    row: Row
    """Its row of the index."""
    record: dict[str, Any]
    tokens: list[int]
    loss: list[int]


@dataclass(frozen=True)
class StoredTurn:
    row: Row
    samples: list[Row]
    """Rows of the index: the samples that use the turn."""


@dataclass(frozen=True)
class StoredRecording:
    recording: str
    turns: list[Row]
    samples: list[Row]
    set_aside: list[Row]


def first_samples(version: Version, number: int) -> list[Row]:
    """Rows of the index, equally many of each family."""
    with version.table("index") as index:
        names = sorted(version.manifest.samples)
        each = -(-number // max(1, len(names)))
        return [row for name in names for row in _rows(index, ds.field("family") == name, each)][:number]


def look_up(version: Version, key: str) -> StoredSample | StoredTurn | StoredRecording:
    """The sample or turn with a key, or the recording of a path or row of text (file and line).

    Raises SetupError with similar names if there is none.
    """
    with version.table("index") as index, version.table("turns") as turns, version.table("set_aside") as out:
        if matches := _rows(index, ds.field("key") == key, 1):
            return _stored(version, matches[0])
        if matches := _rows(turns, ds.field("key") == key, 1):
            row = matches[0]
            samples = _rows(index, ds.field("recording") == row["recording"])
            used_in = [sample for sample in samples if row["index"] in turns_in(sample["key"])]
            return StoredTurn(row, sorted(used_in, key=lambda sample: sample["key"]))
        of_recording = ds.field("recording") == key
        samples = sorted(_rows(index, of_recording), key=lambda row: row["key"])
        recording = StoredRecording(key, _rows(turns, of_recording), samples, _rows(out, of_recording))
        if recording.turns or recording.samples or recording.set_aside:
            return recording
        similar = _similar(key, (index, "key"), (turns, "key"), (turns, "recording"), (out, "recording"))
    hint = f"; similar: {', '.join(similar)}" if similar else ""
    raise SetupError(f"{version.manifest.dataset} has no sample, turn or recording {key!r}{hint}")


def _stored(version: Version, row: Row) -> StoredSample:
    key = row["key"]
    files: dict[str, bytes] = {}
    with version.local(row["shard"]) as path, tarfile.open(path) as shard:
        for member in shard:
            name, _, kind = member.name.partition(".")
            if name == key:
                files[kind] = shard.extractfile(member).read()  # type: ignore[union-attr]
            elif files:
                break
    if not files:
        raise SetupError(f"{row['shard']} has no sample {key}: run `aqaa-data versions verify`")
    arrays = {
        name.removesuffix(".npy"): np.load(io.BytesIO(data)).tolist()
        for name, data in files.items()
        if name.endswith(".npy")
    }
    if "chosen" in arrays:  # a preference pair: show the chosen answer
        prompt, chosen = arrays["prompt"], arrays["chosen"]
        arrays = {"tokens": prompt + chosen, "loss": [0] * len(prompt) + [1] * len(chosen)}
    return StoredSample(row, json.loads(files["json"]), arrays["tokens"], arrays["loss"])


def _rows(table: ds.Dataset, where: pc.Expression, limit: int | None = None) -> list[Row]:
    if limit is not None:
        return list(table.head(limit, filter=where).to_pylist())
    return list(table.to_table(filter=where).to_pylist())


def _similar(key: str, *columns: tuple[ds.Dataset, str]) -> list[str]:
    """Names that contain the key, otherwise names with a similar spelling among the first of each column."""
    containing: dict[str, None] = {}
    first: dict[str, str] = {}
    for table, column in columns:
        where = pc.match_substring(ds.field(column), key)
        containing |= dict.fromkeys(
            row[column] for row in table.head(_FEW, columns=[column], filter=where).to_pylist()
        )
        names = table.head(_MANY, columns=[column])[column].to_pylist()
        first |= {name.rpartition("/")[2]: name for name in names} | {name: name for name in names}
    close = difflib.get_close_matches(key, first, _FEW)
    return list(containing)[:_FEW] or list(dict.fromkeys(first[name] for name in close))


_FEW = 5
_MANY = 10_000
"""Names per column that a misspelled name is compared with."""


def token_strip(tokens: Iterable[int], vocabulary: dict[str, Any]) -> list[tuple[str, str]]:
    """(kind, symbol) of every token: `t` text, `L` and `S` codes, markers by name."""
    markers = {id: _MARKERS.get(name, name.upper()) for name, id in vocabulary["specials"].items()}
    linguistic, semantic = vocabulary["linguistic"]["first"], vocabulary["semantic"]["first"]

    def kind(token: int) -> tuple[str, str]:
        if token in markers:
            return "marker", markers[token]
        if token < linguistic:
            return "text", "t"
        return ("linguistic", "L") if token < semantic else ("semantic", "S")

    return [kind(token) for token in tokens]


_MARKERS = {"audio_start": "⟨", "audio_end": "⟩"}
"""Symbols of markers whose names are too long."""
