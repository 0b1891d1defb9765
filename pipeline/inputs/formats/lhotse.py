"""lhotse's manifests: cuts, or recordings with the supervisions of the file beside them."""

import re
from collections.abc import Iterator
from typing import Any

from pipeline.inputs.formats.given import GivenRecordings, RowTurn, Words
from pipeline.inputs.formats.members import TarMembers
from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.named_files import from_working_directory
from pipeline.inputs.row_files import FileRow, rows_of
from pipeline.storage.store import Store
from schemas.errors import DataError

RECORDINGS, SUPERVISIONS = "recordings", "supervisions"
"""Parts of the names of files that belong together, such as `librispeech_recordings_dev.jsonl.gz`."""

_OF_RECORDING = ("sampling_rate", "num_samples", "duration", "channel_ids", "transforms", "sources")
_OF_CUT = ("id", "type", "start", "duration", "channel", "supervisions", "recording", "features")
_OF_SUPERVISION = ("id", "recording_id", "start", "duration", "channel", "text", "speaker", "alignment")


def read_recordings(folder: Store, name: str, rows: Iterator[FileRow]) -> list[ListedRecording]:
    """The recordings of a manifest of these, with the turns of the supervisions of the same name."""
    given = GivenRecordings(folder, name)
    paths: dict[str, str] = {}
    for row in rows:
        try:
            recording = _object(row)
            id, path = str(recording.get("id")), _source(recording)
        except DataError as error:
            given.refuse(row.where, error.code, error.message)
            continue
        paths[id] = path
        given.add(row.where, path, None, _others(recording, _OF_RECORDING) | {"id": id})
    spoken = name.replace(RECORDINGS, SUPERVISIONS)
    if spoken != name and folder.exists(spoken):
        for row in rows_of(folder, spoken):
            try:
                supervision = _object(row)
                path = paths[str(supervision.get("recording_id"))]
            except KeyError as error:
                given.refuse(row.where, "bad_row", f"{name} has no recording called {error.args[0]}")
            except DataError as error:
                given.refuse(row.where, error.code, error.message)
            else:
                given.say(row.where, path, _turn(supervision, 0.0), tuple(_words(supervision, 0.0)))
    return given.listed()


def read_supervisions(folder: Store, name: str, rows: Iterator[FileRow]) -> list[ListedRecording]:
    """The recordings of the manifest beside these supervisions."""
    beside = name.replace(SUPERVISIONS, RECORDINGS)
    if beside != name and folder.exists(beside):
        return read_recordings(folder, beside, rows_of(folder, beside))
    given = GivenRecordings(folder, name)
    given.refuse(name, "bad_row", f"lhotse's supervisions need the recordings beside them, as {beside}")
    return given.listed()


def read_cuts(folder: Store, name: str, rows: Iterator[FileRow]) -> list[ListedRecording]:
    """The recordings of cuts. Their supervisions, relative to the cut, are turns of the recording.

    The audio of `cuts.000000.jsonl.gz` of a Shar is in `recording.000000.tar`, under the ids of the cuts.
    """
    given, tars = GivenRecordings(folder, name), TarMembers(folder)
    for row in rows:
        try:
            cut = _object(row)
            recording = cut.get("recording")
            if not isinstance(recording, dict):
                kind = cut.get("type") or "cut"
                raise DataError("bad_row", f"the {kind} has no recording of its own, so it is not read")
            if _in_shar(recording):
                member = tars.find(re.sub(r"cuts\.(\d+)\..*", r"recording.\1.tar", name), str(cut.get("id")))
                for turn, words in _said(cut):
                    given.add_member(member, turn, _cut_fields(cut, recording), words)
                continue
            path = _source(recording)
        except DataError as error:
            given.refuse(row.where, error.code, error.message)
            continue
        given.add(row.where, path, None, _cut_fields(cut, recording))
        for turn, words in _said(cut):
            if turn is not None:
                given.say(row.where, path, turn, words)
    return given.listed()


def _in_shar(recording: dict[str, Any]) -> bool:
    sources = recording.get("sources")
    return isinstance(sources, list) and any(isinstance(s, dict) and s.get("type") == "shar" for s in sources)


def _said(cut: dict[str, Any]) -> list[tuple[RowTurn | None, Words]]:
    """The turns of a cut on the clock of its recording, with their words; None if it states none."""
    supervisions = [one for one in cut.get("supervisions") or () if isinstance(one, dict)]
    origin = cut.get("start") or 0.0
    return [(_turn(one, origin), tuple(_words(one, origin))) for one in supervisions] or [(None, ())]


def _turn(supervision: dict[str, Any], origin: Any) -> RowTurn:
    """A supervision, whose times are relative to `origin`."""
    start = _sum(origin, supervision.get("start"))
    return RowTurn(
        start,
        _sum(start, supervision.get("duration")),
        supervision.get("speaker"),
        supervision.get("text") or None,
        channel + 1 if isinstance(channel := supervision.get("channel"), int) and channel else None,
    )


def _words(supervision: dict[str, Any], origin: Any) -> Iterator[tuple[Any, ...]]:
    """(start, duration, word, confidence) of the words of an alignment."""
    alignment = supervision.get("alignment")
    words = alignment.get("word") if isinstance(alignment, dict) else None
    for word in words if isinstance(words, list) else ():
        if isinstance(word, list) and len(word) >= 3:
            yield _sum(origin, word[1]), word[2], word[0], word[3] if len(word) > 3 else None


def _sum(a: Any, b: Any) -> Any:
    """The sum of seconds; what is not a number is kept, to be named when the turn is used."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return round(a + b, 6)
    return b if isinstance(a, int | float) else a


def _object(row: FileRow) -> dict[str, Any]:
    if isinstance(row.value, DataError):
        raise row.value
    if not isinstance(row.value, dict):
        raise DataError("bad_row", "the line is not a JSON object")
    return {name: value for name, value in row.value.items() if value is not None}


def _source(recording: dict[str, Any]) -> str:
    """The file of a recording. Raises DataError if it isn't one."""
    sources = recording.get("sources")
    source = sources[0] if isinstance(sources, list) and sources else None
    if not isinstance(source, dict) or not isinstance(source.get("source"), str):
        raise DataError("bad_row", "the recording names no file")
    if len(sources) > 1:
        raise DataError("several_files", f"its channels are in {len(sources)} files: join them in one")
    if source.get("type") == "command":
        raise DataError("command", "it is a command, which is not run: write its output to a file")
    if source.get("type") not in ("file", "url"):
        raise DataError("bad_row", f"its audio is of type {source.get('type')}, which is not read")
    if recording.get("transforms"):
        raise DataError("transforms", "it is changed while it is read, which is not done: save it as a file")
    return from_working_directory(str(source["source"]))


def _cut_fields(cut: dict[str, Any], recording: dict[str, Any]) -> dict[str, Any]:
    supervisions = [one for one in cut.get("supervisions") or () if isinstance(one, dict)]
    said = _others(supervisions[0], _OF_SUPERVISION) if len(supervisions) == 1 else {}
    custom = {name: value for name, value in (cut.get("custom") or {}).items() if not isinstance(value, list)}
    return said | _others(cut, (*_OF_CUT, "custom")) | custom | {"id": recording.get("id")}


def _others(row: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in known}
