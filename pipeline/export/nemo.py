"""NeMo's manifest: `manifest.json` with one JSON object per turn."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.export.annotated import ExportedRecording
from pipeline.export.json_lines import json_line

MANIFEST = "manifest.json"


def write_nemo(recordings: Iterable[ExportedRecording], folder: Path) -> None:
    """Write a line for every turn. `channel` counts from 0; it is missing where a recording has only one, or
    the turn was cut from the mix of several."""
    with (folder / MANIFEST).open("w", encoding="utf-8") as manifest:
        for recording in recordings:
            for row in recording.rows:
                entry = {
                    "id": row["key"],
                    "audio_filepath": recording.path,
                    "offset": round(row["start"], 6),
                    "duration": round(row["end"] - row["start"], 6),
                    "text": row["text"] or "",
                    "speaker": row["speaker"],
                    "lang": row["language"],
                    "recording": recording.name,
                    "status": row["status"],
                }
                channels = recording.channels(row)
                if recording.decoded.channels > 1 and len(channels) == 1:
                    entry["channel"] = channels[0]
                manifest.write(json_line(entry) + "\n")
