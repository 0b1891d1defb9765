"""A folder for Hugging Face `datasets`: Parquet with a row per turn, its audio and its codes, and a card."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.export.annotated import ExportedRecording
from pipeline.export.recording_clips import clip, spooled
from pipeline.versions.reader import Version, batches
from stages.stage import SAMPLE_RATE

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


def write_hugging_face(
    recordings: Iterable[ExportedRecording], folder: Path, version: Version, number: int
) -> None:
    """Write `data/turns-<number>.parquet`. Raises SetupError if a recording can't be read."""
    (folder / "data").mkdir()
    path = folder / "data" / f"turns-{number:05d}.parquet"
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as file:
        rows = _rows(recordings, version)
        while group := list(islice(rows, ROWS)):
            file.write_table(pa.Table.from_pylist(group, _SCHEMA))


def describe_hugging_face(version: Version, folder: Path) -> None:
    """Write the card."""
    with version.table("turns") as turns:
        spoken = set().union(
            *(batch["language"].unique().to_pylist() for batch in batches(turns, ["language"]))
        )
    (folder / "README.md").write_text(_card(version, sorted(filter(None, spoken))), encoding="utf-8")


def _rows(recordings: Iterable[ExportedRecording], version: Version) -> Iterator[dict[str, Any]]:
    for recording in recordings:
        with spooled(version) as audio:
            for row, codes in zip(recording.rows, recording.codes, strict=True):
                sound = clip(audio, recording.recording, row["track"], row["start"], row["end"])
                yield {name: row[name] for name in _COPIED} | {
                    "id": row["key"],
                    "recording": recording.name,
                    "linguistic": codes.linguistic if codes else None,
                    "semantic": codes.semantic if codes else None,
                    "audio": {"bytes": sound, "path": f"{row['key']}.flac"},
                }


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
