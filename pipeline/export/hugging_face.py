"""A folder for Hugging Face `datasets`: Parquet with a row per turn, its audio and its codes, and a card."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.export.annotated import DECODE, ExportedRecording
from pipeline.export.recording_clips import clip
from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.versions.inspect import Row
from pipeline.versions.reader import Version
from stages.decode import DecodeConfig
from stages.stage import SAMPLE_RATE

PART_BYTES = 500_000_000
"""Of the audio in a file, approximately."""
ROWS = 100
"""Of a row group, which readers load at once."""


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}


_COPIED = ("start", "end", "speaker", "language", "text", "status")
"""Columns that are those of turns.parquet."""

_COLUMNS: dict[str, tuple[pa.DataType, Any]] = {
    **{name: (pa.string(), _value("string")) for name in ("id", "recording")},
    **{name: (pa.float64(), _value("float64")) for name in ("start", "end")},
    **{name: (pa.string(), _value("string")) for name in ("speaker", "language", "text", "status")},
    **{
        name: (pa.list_(pa.int32()), {"feature": _value("int32"), "_type": "List"})
        for name in ("linguistic", "semantic")
    },
    "audio": (
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        {"sampling_rate": SAMPLE_RATE, "_type": "Audio"},
    ),
}
"""Name -> type in Parquet, and the feature of `datasets`."""

_FEATURES = {name: feature for name, (_, feature) in _COLUMNS.items()}
_SCHEMA = pa.schema(
    [(name, type) for name, (type, _) in _COLUMNS.items()],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


def write_hugging_face(recordings: Iterable[ExportedRecording], folder: Path, version: Version) -> None:
    """Write `data/turns-<number>.parquet` and the card. Raises SetupError if a recording can't be read."""
    (folder / "data").mkdir()
    languages: set[str] = set()
    config = DecodeConfig.model_validate(version.manifest.recipe["decode"])
    fingerprint = version.manifest.stages[DECODE]
    with _ParquetFiles(folder / "data") as files:
        for recording in recordings:
            # One for each recording, so that only one is decoded on disk at a time.
            with SpooledAudio(scratch_folder(None), config, fingerprint) as audio:
                for row in _rows(recording, audio):
                    languages.add(row["language"] or "")
                    files.add(row)
    (folder / "README.md").write_text(_card(version, sorted(languages - {""})), encoding="utf-8")


def _rows(recording: ExportedRecording, audio: SpooledAudio) -> Iterator[dict[str, Any]]:
    for row, codes in zip(recording.rows, recording.codes, strict=True):
        yield {name: row[name] for name in _COPIED} | {
            "id": row["key"],
            "recording": recording.name,
            "linguistic": codes.linguistic if codes else None,
            "semantic": codes.semantic if codes else None,
            "audio": {"bytes": _clip(recording, row, audio), "path": f"{row['key']}.flac"},
        }


def _clip(recording: ExportedRecording, row: Row, audio: SpooledAudio) -> bytes:
    return clip(audio, recording.recording, row["track"], row["start"], row["end"])


class _ParquetFiles:
    """Parquet files of a limited size, one row group in memory at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = self._bytes = 0
        self._rows: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "_ParquetFiles":
        return self

    def __exit__(self, *error: object) -> None:
        self._end_group()
        self._end_part()

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._bytes += len(row["audio"]["bytes"])
        if len(self._rows) == ROWS:
            self._end_group()
        if self._bytes > PART_BYTES:
            self._end_group()
            self._end_part()

    def _end_group(self) -> None:
        if self._rows:
            path = self._folder / f"turns-{self._number:05d}.parquet"
            self._writer = self._writer or pq.ParquetWriter(path, _SCHEMA, compression="zstd")
            self._writer.write_table(pa.Table.from_pylist(self._rows, _SCHEMA))
            self._rows = []

    def _end_part(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer, self._bytes = None, 0
            self._number += 1


def _card(version: Version, languages: list[str]) -> str:
    manifest = version.manifest
    head = {
        "pretty_name": manifest.dataset,
        **({"language": languages} if languages else {}),
        "tags": ["speech", "aqaa-data"],
    }
    licences = "\n".join(f"| {name} | {number:,} |" for name, number in manifest.licences.items())
    return f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---

# {manifest.dataset}

The turns of version `{manifest.version}`, exported by aqaa-data. Speakers are those of one recording: the
same name in another recording is somebody else. `status` is `used`, `eligible` or `set_aside`; `linguistic`
and `semantic` are the audio codes; the audio is 16 kHz FLAC.

```python
from datasets import load_dataset

turns = load_dataset("path of this folder", split="train")
```

| licence, as the sidecars state it | recordings and rows |
| --- | ---: |
{licences}
"""
