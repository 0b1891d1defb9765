"""`export`: the turns or the samples of a version in the format of another tool."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pyarrow.dataset as ds

from pipeline.export.annotated import AnnotatedRecordings, ExportedRecording
from pipeline.export.chat import chat_codes_writer, chat_writer
from pipeline.export.destination import Destination
from pipeline.export.energon import describe_energon, write_energon
from pipeline.export.exported import Exported
from pipeline.export.hugging_face import describe_hugging_face, write_hugging_face
from pipeline.export.json_lines import jsonl
from pipeline.export.kaldi import write_kaldi
from pipeline.export.lhotse import write_lhotse
from pipeline.export.litdata import describe_litdata, write_litdata
from pipeline.export.mds import describe_mds, write_mds
from pipeline.export.moshi import speakers_of, write_moshi
from pipeline.export.names import NameForm, RecordingNames, field
from pipeline.export.nemo import write_nemo
from pipeline.export.nemo_tarred import write_nemo_tarred
from pipeline.export.nist import ctm, rttm, stm
from pipeline.export.parts import ExportPart, parts_of
from pipeline.export.subtitles import srt, vtt
from pipeline.export.textgrid import textgrid
from pipeline.versions.inspect import Row
from pipeline.versions.provenance import code_version
from pipeline.versions.reader import Version, each_recording
from schemas.manifest import Shard

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

TOGETHER: dict[str, Callable[[Iterable[ExportedRecording], Path, Version, int], None]] = {
    "nemo": lambda recordings, folder, *_: write_nemo(recordings, folder),
    "nemo-tarred": write_nemo_tarred,
    "kaldi": lambda recordings, folder, *_: write_kaldi(recordings, folder),
    "lhotse": lambda recordings, folder, *_: write_lhotse(recordings, folder),
    "hf": write_hugging_face,
    "moshi": lambda recordings, folder, version, _: write_moshi(recordings, folder, version),
}
"""Format -> what writes the recordings of a part, which has a number, into a folder. These need the dataset's
annotations."""

SAMPLES: dict[str, Callable[[Version, Destination], Callable[[Shard, Path, int], int]]] = {
    "energon": lambda version, _: partial(write_energon, version),
    "mds": lambda version, _: partial(write_mds, version),
    "litdata": lambda version, _: partial(write_litdata, version),
    "chat": lambda version, to: chat_writer(version, to.has),
    "chat-codes": lambda version, _: chat_codes_writer(version),
}
"""Format of samples instead of turns -> what writes those of a shard, which has a number, and returns how
many there are."""

DESCRIBED: dict[str, Callable[[Version, Path], None]] = {
    "hf": describe_hugging_face,
    "energon": describe_energon,
    "mds": describe_mds,
    "litdata": describe_litdata,
}
"""Format -> what writes the files that say what is in the others, after these."""

FORMATS = (*PER_RECORDING, *TOGETHER, *SAMPLES)
_JOINED = (".jsonl", "manifest.json")
"""Endings of the files to which every part adds, in formats that don't have a file per recording."""
_IN_ONE_PART = ("kaldi",)
"""Formats whose files are sorted."""
_WITH_TEXT = ("srt", "vtt", "textgrid", "kaldi")
"""Formats that have no place for a turn without text."""


def export(
    version: Version,
    format: str,
    to: str | Path,
    only_kept: bool = False,
    uri: NameForm = "path",
    progress: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write the turns or the samples of a version into a new or an empty folder or prefix.

    Where the same export was stopped, it goes on. With `only_kept` only kept turns are written; a recording
    without any is left out, and so is one without diarization. Raises SetupError for a folder that can't be
    written, and for annotations that aren't there.
    """
    request = {
        "version": version.manifest.version,
        "format": format,
        "only_kept": only_kept,
        "uri": uri,
        "release": code_version(),
    }
    if format not in SAMPLES:
        version.refuse_partitions("turns are exported from each")
    there = Destination(str(to), request)
    if format in SAMPLES:
        write = SAMPLES[format](version, there)
        jobs = [
            partial(_write_shard, write, shard, number)
            for number, shard in enumerate(version.manifest.shards)
        ]
        exported = there.make(jobs, _JOINED, progress)
    else:
        with version.table("turns") as turns:
            export = _TurnsExport(version, turns, format, only_kept, uri, there)
            jobs = [partial(export.write, part) for part in export.parts()]
            exported = there.make(jobs, _JOINED if format in TOGETHER else (), progress)
    there.finish(partial(DESCRIBED.get(format, lambda *_: None), version))
    return exported


def _write_shard(
    write: Callable[[Shard, Path, int], int], shard: Shard, number: int, folder: Path
) -> Exported:
    samples = write(shard, folder, number)
    return Exported(samples=samples, documents=shard.samples - samples)


class _TurnsExport:
    """An export of turns in one format."""

    def __init__(
        self,
        version: Version,
        turns: ds.Dataset,
        format: str,
        only_kept: bool,
        uri: NameForm,
        there: Destination,
    ) -> None:
        self._version = version
        self._turns = turns
        self._format = format
        self._where = ds.field("status").isin(["used", "eligible"]) if only_kept else None
        self._names = RecordingNames(turns, uri)
        self._annotated = AnnotatedRecordings(version) if format in TOGETHER else None
        self._there = there

    def parts(self) -> list[ExportPart]:
        parts = list(parts_of(self._turns, self._where))
        if self._format in _IN_ONE_PART and parts:
            return [ExportPart(0, parts[0].first, parts[-1].last)]
        return parts

    def write(self, part: ExportPart, folder: Path) -> Exported:
        """Write the files of a part."""
        exported = Exported()
        where = part.rows(self._where)
        if self._annotated:
            recordings = self._annotated.each(self._turns, self._names, where)
            TOGETHER[self._format](self._counted(recordings, exported), folder, self._version, part.number)
            return exported
        extension = EXTENSIONS.get(self._format, self._format)
        for recording, table in each_recording(self._turns, where=where):
            name, rows = self._names(recording), table.to_pylist()
            with (folder / f"{name}.{extension}").open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in PER_RECORDING[self._format](name, rows))
            self._count(exported, name, rows)
        return exported

    def _counted(
        self, recordings: Iterable[ExportedRecording], exported: Exported
    ) -> Iterator[ExportedRecording]:
        for recording in recordings:
            if self._there.stopped:
                raise InterruptedError
            if self._format == "moshi" and len(speakers_of(recording.rows)) != 2:
                exported.not_two_speakers += 1
                continue
            self._count(exported, recording.name, recording.rows)
            exported.off_clock += recording.off_clock
            yield recording

    def _count(self, exported: Exported, name: str, rows: list[Row]) -> None:
        """Count a recording's turns, and those that the format leaves out."""
        left_out = 0
        if self._format in _WITH_TEXT:
            left_out = sum(not (row["text"] or "").strip() for row in rows)
            exported.without_text += left_out
        elif self._format == "ctm":
            left_out = sum(not (row["transcript"] or {}).get("words") for row in rows)
            exported.without_words += left_out
        exported.recordings += 1
        exported.turns += len(rows) - left_out
        exported.renamed += self._format in ("rttm", "stm", "ctm", "kaldi") and field(name) != name
