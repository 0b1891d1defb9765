"""NeMo's tarred datasets: the audio of turns in `audio_<shard>.tar`, and a manifest of their members."""

import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from pipeline.export.annotated import ExportedRecording
from pipeline.export.json_lines import json_line
from pipeline.export.recording_clips import clip, spooled
from pipeline.versions.reader import Version

MANIFEST = "tarred_audio_manifest.json"


def write_nemo_tarred(
    recordings: Iterable[ExportedRecording], folder: Path, version: Version, number: int
) -> None:
    """Write the tar of shard `number` and its manifest. Raises SetupError if a recording can't be read."""
    with (
        (folder / MANIFEST).open("w", encoding="utf-8") as manifest,
        tarfile.TarFile(folder / f"audio_{number}.tar", "w") as tar,
    ):
        for recording in recordings:
            with spooled(version) as audio:
                for row in recording.rows:
                    sound = clip(audio, recording.recording, row["track"], row["start"], row["end"])
                    member = tarfile.TarInfo(f"{row['key']}.flac")
                    member.size = len(sound)
                    tar.addfile(member, BytesIO(sound))
                    entry = {
                        "audio_filepath": member.name,
                        "duration": round(row["end"] - row["start"], 6),
                        "text": row["text"] or "",
                        "speaker": row["speaker"],
                        "lang": row["language"],
                        "recording": recording.name,
                        "status": row["status"],
                        "shard_id": number,
                    }
                    manifest.write(json_line(entry) + "\n")
