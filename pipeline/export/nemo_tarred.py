"""NeMo's tarred datasets: the audio of turns in `audio_<shard>.tar`, and a manifest of their members."""

import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TextIO

from pipeline.export.annotated import DECODE, ExportedRecording
from pipeline.export.json_lines import json_line
from pipeline.export.recording_clips import clip
from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.versions.reader import Version
from stages.decode import DecodeConfig

MANIFEST = "tarred_audio_manifest.json"
SHARD_BYTES = 500_000_000
"""Of the audio in a tar, approximately."""


def write_nemo_tarred(recordings: Iterable[ExportedRecording], folder: Path, version: Version) -> None:
    """Write the tars and their manifest. Raises SetupError if a recording can't be read."""
    config = DecodeConfig.model_validate(version.manifest.recipe["decode"])
    with (folder / MANIFEST).open("w", encoding="utf-8") as manifest, _Shards(folder, manifest) as shards:
        for recording in recordings:
            # One for each recording, so that only one is decoded on disk at a time.
            with SpooledAudio(scratch_folder(None), config, version.manifest.stages[DECODE]) as audio:
                for row in recording.rows:
                    place = row["track"], row["start"], row["end"]
                    entry = {
                        "audio_filepath": f"{row['key']}.flac",
                        "duration": round(row["end"] - row["start"], 6),
                        "text": row["text"] or "",
                        "speaker": row["speaker"],
                        "lang": row["language"],
                        "recording": recording.name,
                        "status": row["status"],
                    }
                    shards.add(entry, clip(audio, recording.recording, *place))


class _Shards:
    """Tars of a limited size."""

    def __init__(self, folder: Path, manifest: TextIO) -> None:
        self._folder = folder
        self._manifest = manifest
        self._number = self._bytes = 0
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> "_Shards":
        return self

    def __exit__(self, *error: object) -> None:
        self._end_shard()

    def add(self, entry: dict[str, object], audio: bytes) -> None:
        self._tar = self._tar or tarfile.TarFile(self._folder / f"audio_{self._number}.tar", "w")
        member = tarfile.TarInfo(str(entry["audio_filepath"]))
        member.size = len(audio)
        self._tar.addfile(member, BytesIO(audio))
        self._manifest.write(json_line({**entry, "shard_id": self._number}) + "\n")
        self._bytes += len(audio)
        if self._bytes > SHARD_BYTES:
            self._end_shard()
            self._number, self._bytes = self._number + 1, 0

    def _end_shard(self) -> None:
        if self._tar:
            self._tar.close()
            self._tar = None
