"""lhotse's manifests: `recordings.jsonl`, `supervisions.jsonl`, and `cuts.jsonl` with a cut per turn."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.export.annotated import ExportedRecording
from pipeline.export.json_lines import json_line
from pipeline.versions.inspect import Row
from schemas.recording import Codes

KINDS = ("recordings", "supervisions", "cuts")


def write_lhotse(recordings: Iterable[ExportedRecording], folder: Path) -> None:
    """Write the three manifests. A cut has the codes of its turn as `cut.linguistic` and `cut.semantic`."""
    with ExitStack() as stack:
        files = {
            kind: stack.enter_context((folder / f"{kind}.jsonl").open("w", encoding="utf-8"))
            for kind in KINDS
        }

        def write(kind: str, entry: dict[str, Any]) -> None:
            files[kind].write(json_line(entry) + "\n")

        for recording in recordings:
            described = _recording(recording)
            write("recordings", described)
            for row, codes in zip(recording.rows, recording.codes, strict=True):
                channels = recording.channels(row)
                supervision = _supervision(recording.name, row, channels)
                write("supervisions", supervision)
                write("cuts", _cut(described, row, channels, supervision, codes))


def _recording(recording: ExportedRecording) -> dict[str, Any]:
    decoded = recording.decoded
    channels = list(range(decoded.channels))
    kind = "file" if recording.recording.uri.startswith("file://") else "url"
    return {
        "id": recording.name,
        "sources": [{"type": kind, "channels": channels, "source": recording.path}],
        "sampling_rate": decoded.sample_rate,
        "num_samples": round(decoded.seconds * decoded.sample_rate),
        "duration": decoded.seconds,
        "channel_ids": channels,
    }


def _supervision(
    name: str, row: Row, channels: tuple[int, ...], start: float | None = None
) -> dict[str, Any]:
    """A supervision on the clock of the recording, or with times relative to `start`."""
    origin = 0.0 if start is None else start
    words = (row["transcript"] or {}).get("words") or ()
    entry = {
        "id": row["key"],
        "recording_id": name,
        "start": round(row["start"] - origin, 6),
        "duration": round(row["end"] - row["start"], 6),
        "channel": _channel(channels),
        "text": row["text"] or "",
        "language": row["language"],
        "speaker": row["speaker"],
        "custom": {"status": row["status"], "code": row["code"]},
    }
    if words:
        entry["alignment"] = {
            "word": [
                [
                    word["text"].strip(),
                    round(word["start"] - origin, 6),
                    round(word["end"] - word["start"], 6),
                    round(word["probability"], 6),
                ]
                for word in words
            ]
        }
    return {name: value for name, value in entry.items() if value is not None}


def _cut(
    recording: dict[str, Any],
    row: Row,
    channels: tuple[int, ...],
    supervision: dict[str, Any],
    codes: Codes | None,
) -> dict[str, Any]:
    within = _supervision(recording["id"], row, channels, start=row["start"])
    custom = {"linguistic": list(codes.linguistic), "semantic": list(codes.semantic)} if codes else {}
    return {
        "id": row["key"],
        "start": supervision["start"],
        "duration": supervision["duration"],
        "channel": _channel(channels),
        "supervisions": [within],
        "recording": recording,
        "custom": custom,
        "type": "MonoCut" if len(channels) == 1 else "MultiCut",
    }


def _channel(channels: tuple[int, ...]) -> int | list[int]:
    return channels[0] if len(channels) == 1 else list(channels)
