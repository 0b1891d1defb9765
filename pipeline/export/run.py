"""`export`: the turns or the samples of a version in the format of another tool."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.export.annotated import AnnotatedRecordings, ExportedRecording
from pipeline.export.chat import write_chat, write_chat_codes
from pipeline.export.energon import write_energon
from pipeline.export.folder import destination
from pipeline.export.hugging_face import write_hugging_face
from pipeline.export.json_lines import jsonl
from pipeline.export.kaldi import write_kaldi
from pipeline.export.lhotse import write_lhotse
from pipeline.export.mds import write_mds
from pipeline.export.moshi import speakers_of, write_moshi
from pipeline.export.names import NameForm, RecordingNames, field
from pipeline.export.nemo import write_nemo
from pipeline.export.nemo_tarred import write_nemo_tarred
from pipeline.export.nist import ctm, rttm, stm
from pipeline.export.subtitles import srt, vtt
from pipeline.export.textgrid import textgrid
from pipeline.versions.inspect import Row
from pipeline.versions.reader import Version, each_recording

PER_RECORDING: dict[str, Callable[[str, Iterable[Row]], Iterator[str]]] = {
    "rttm": rttm,
    "stm": stm,
    "ctm": ctm,
    "jsonl": jsonl,
    "srt": srt,
    "vtt": vtt,
    "textgrid": textgrid,
}
"""Format -> the lines of a recording's file, from its name and its rows of turns.parquet."""

EXTENSIONS = {"textgrid": "TextGrid"}
"""Of formats whose files have another extension than the format's name."""

TOGETHER: dict[str, Callable[[Iterable[ExportedRecording], Path, Version], None]] = {
    "nemo": lambda recordings, folder, _: write_nemo(recordings, folder),
    "nemo-tarred": write_nemo_tarred,
    "kaldi": lambda recordings, folder, _: write_kaldi(recordings, folder),
    "lhotse": lambda recordings, folder, _: write_lhotse(recordings, folder),
    "hf": write_hugging_face,
    "moshi": write_moshi,
}
"""Format -> what writes its files for all recordings. These need the dataset's annotations."""

SAMPLES: dict[str, Callable[[Version, Path], int]] = {
    "energon": write_energon,
    "mds": write_mds,
    "chat": write_chat,
    "chat-codes": write_chat_codes,
}
"""Format of samples instead of turns -> what writes them and returns their number."""

FORMATS = (*PER_RECORDING, *TOGETHER, *SAMPLES)
_WITH_TEXT = ("srt", "vtt", "textgrid", "kaldi")
"""Formats that have no place for a turn without text."""


@dataclass
class Exported:
    recordings: int = 0
    """Recordings of which turns were written."""
    turns: int = 0
    samples: int = 0
    """Of formats of samples."""
    renamed: int = 0
    """Recordings with another name in RTTM, STM, CTM or Kaldi than elsewhere, as fields have no spaces."""
    without_text: int = 0
    """Turns left out because the format has no place for one without text."""
    without_words: int = 0
    """Turns left out of CTM because the times of their words aren't known."""
    documents: int = 0
    """Samples left out of chats because they have no roles."""
    not_two_speakers: int = 0
    """Recordings left out of moshi, which has two speakers."""
    off_clock: int = 0
    """Recordings that start late or have gaps on the container's clock, which turns are timed by."""

    def count(self, format: str, name: str, rows: list[Row]) -> None:
        """Count a recording's turns, and those that a format leaves out."""
        left_out = 0
        if format in _WITH_TEXT:
            left_out = sum(not (row["text"] or "").strip() for row in rows)
            self.without_text += left_out
        elif format == "ctm":
            left_out = sum(not (row["transcript"] or {}).get("words") for row in rows)
            self.without_words += left_out
        self.recordings += 1
        self.turns += len(rows) - left_out
        self.renamed += format in ("rttm", "stm", "ctm", "kaldi") and field(name) != name


def export(
    version: Version, format: str, to: str | Path, only_kept: bool = False, uri: NameForm = "path"
) -> Exported:
    """Write the turns or the samples of a version into a new or an empty folder or prefix, one recording in
    memory at a time.

    With `only_kept` only kept turns are written; a recording without any is left out, and so is one without
    diarization. Raises SetupError for a folder that can't be written, and for annotations that aren't there.
    """
    where = ds.field("status").isin(["used", "eligible"]) if only_kept else None
    exported = Exported()
    with destination(str(to)) as folder, version.table("turns") as turns:
        if format in SAMPLES:
            written = SAMPLES[format](version, folder)
            return Exported(
                samples=written, documents=sum(s.samples for s in version.manifest.shards) - written
            )
        names = RecordingNames(turns, uri)
        if format in PER_RECORDING:
            _write_each(turns, where, format, names, folder, exported)
        else:
            recordings = AnnotatedRecordings(version).each(turns, names, where)
            TOGETHER[format](_counted(recordings, format, exported), folder, version)
    return exported


def _write_each(
    turns: ds.Dataset,
    where: pc.Expression | None,
    format: str,
    names: RecordingNames,
    folder: Path,
    exported: Exported,
) -> None:
    """Write a file per recording."""
    extension = EXTENSIONS.get(format, format)
    for recording, table in each_recording(turns, where=where):
        name, rows = names(recording), table.to_pylist()
        with (folder / f"{name}.{extension}").open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in PER_RECORDING[format](name, rows))
        exported.count(format, name, rows)


def _counted(
    recordings: Iterable[ExportedRecording], format: str, exported: Exported
) -> Iterator[ExportedRecording]:
    for recording in recordings:
        if format == "moshi" and len(speakers_of(recording.rows)) != 2:
            exported.not_two_speakers += 1
            continue
        exported.count(format, recording.name, recording.rows)
        exported.off_clock += recording.off_clock
        yield recording
