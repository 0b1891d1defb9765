"""Conversations of two for moshi-finetune: a channel for each speaker, and the times of the words.

`train.jsonl` names stereo files, with the model's side on the left, and their lengths. `<name>.json` beside
each has its words. Every conversation is there twice, with either speaker as the model's side.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from pipeline.export.annotated import ExportedRecording
from pipeline.export.json_lines import json_line
from pipeline.export.recording_clips import samples_between, spooled
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.versions.inspect import Row
from pipeline.versions.reader import Version
from stages.stage import SAMPLE_RATE, Samples

STEREO = "data_stereo"
BLOCK = 60
"""Seconds that are in memory at a time."""


def speakers_of(rows: Iterable[Row]) -> list[str]:
    return sorted({row["speaker"] for row in rows})


def write_moshi(recordings: Iterable[ExportedRecording], folder: Path, version: Version) -> None:
    """Write recordings, each of which has two speakers. Raises SetupError if one can't be read."""
    (folder / STEREO).mkdir()
    with (folder / "train.jsonl").open("w", encoding="utf-8") as manifest:
        for recording in recordings:
            with spooled(version) as audio:
                for number, main in enumerate(speakers_of(recording.rows), 1):
                    path = folder / STEREO / f"{recording.name}-{number}.wav"
                    seconds = _write_stereo(recording, main, audio, path)
                    path.with_suffix(".json").write_text(json_line(_alignments(recording.rows, main)) + "\n")
                    entry = {"path": f"{STEREO}/{path.name}", "duration": seconds}
                    manifest.write(json_line(entry) + "\n")


def _write_stereo(recording: ExportedRecording, main: str, audio: SpooledAudio, path: Path) -> float:
    """Write one speaker's turns on the left and the other's on the right. Returns the length in seconds."""
    frames = 0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2, "PCM_16") as file:
        for block in _blocks(recording, main, audio):
            file.write(block)
            frames += len(block)
    return frames / SAMPLE_RATE


def _blocks(recording: ExportedRecording, main: str, audio: SpooledAudio) -> Iterator[Samples]:
    """Samples [n, 2] of the whole recording; silent where nobody has a turn."""
    total = round(recording.decoded.seconds * SAMPLE_RATE)
    for first in range(0, total, BLOCK * SAMPLE_RATE):
        end = min(first + BLOCK * SAMPLE_RATE, total)
        block = np.zeros((end - first, 2), np.float32)
        for row in recording.rows:
            begin, stop = (round(row[side] * SAMPLE_RATE) for side in ("start", "end"))
            begin, stop = max(begin, first), min(stop, end)
            if begin < stop:
                spoken = samples_between(
                    audio, recording.recording, row["track"], begin / SAMPLE_RATE, stop / SAMPLE_RATE
                )
                channel = block[begin - first : begin - first + len(spoken), int(row["speaker"] != main)]
                channel[:] = spoken[: len(channel)]
        yield block


def _alignments(rows: Iterable[Row], main: str) -> dict[str, object]:
    """The words of both sides in the order of their times; the trainer keeps those of `SPEAKER_MAIN`."""
    words = [
        [
            word["text"].strip(),
            [round(word["start"], 3), round(word["end"], 3)],
            _SIDES[row["speaker"] == main],
        ]
        for row in rows
        for word in (row["transcript"] or {}).get("words") or ()
    ]
    return {"alignments": sorted(words, key=lambda word: word[1])}


_SIDES = ("SPEAKER_USER", "SPEAKER_MAIN")
