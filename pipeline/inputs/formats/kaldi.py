"""Kaldi's data folder: wav.scp, and perhaps segments, text, utt2spk and utt2lang."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.inputs.formats.given import GivenRecordings, RowTurn
from pipeline.inputs.listed_recording import ListedRecording
from pipeline.inputs.named_files import from_working_directory
from pipeline.storage.store import Store
from schemas.errors import DataError
from schemas.text_files import decoded, lines, valid

SCP = "wav.scp"


class _Utterance(NamedTuple):
    where: str
    recording: str
    start: str | float
    end: str | float | None
    """None: until the end."""


def read_kaldi(data: Store) -> list[ListedRecording]:
    """The recordings of wav.scp, with the utterances of the other files as their turns.

    Relative paths are those of the working directory, as
    Kaldi takes them, where such a file exists; otherwise those of the data folder. Lines that can't be used,
    among them commands, are set aside.
    """
    given = GivenRecordings(data, SCP)
    files: dict[str, str] = {}
    refused: set[str] = set()
    for where, id, source in _fields(data, SCP):
        try:
            files[id] = _path(source)
        except DataError as error:
            given.refuse(f"{where} ({id})", error.code, error.message)
            refused.add(id)
    utterances = _segments(data) if data.exists("segments") else _whole(files)
    texts, speakers, languages = (
        {id: value for _, id, value in _fields(data, name)} if data.exists(name) else None
        for name in ("text", "utt2spk", "utt2lang")
    )
    spoken = texts is not None or speakers is not None or data.exists("segments")
    heard: set[str] = set()
    for id, one in utterances:
        if one.recording not in files:
            if one.recording not in refused:
                given.refuse(one.where, "bad_row", f"{SCP} has no recording called {one.recording}")
            continue
        # Where Kaldi's users don't know who speaks, an utterance is its own speaker.
        speaker = named if (named := (speakers or {}).get(id)) != id else None
        turn = RowTurn(one.start, one.end, speaker, (texts or {}).get(id) or None) if spoken else None
        language = (languages or {}).get(id)
        fields = {"recording": one.recording} | ({"language": language} if language else {})
        given.add(one.where, files[one.recording], turn, fields)
        heard.add(one.recording)
    for id in files.keys() - heard:
        given.add(SCP, files[id], None, {"recording": id})
    return given.listed()


def _path(source: str) -> str:
    """The path of a file, absolute if it is one of the working directory. Raises DataError for others."""
    if not source:
        raise DataError("bad_row", "the line has no file")
    if source.endswith("|"):
        raise DataError(
            "command", "it is a command, which is not run: write its output to a file, and name that"
        )
    if source.endswith(("]", ".ark")) or re.search(r":\d+$", source):
        raise DataError("ark", "it is a part of an archive of Kaldi, which is not read: name a file")
    return from_working_directory(source)


def _segments(data: Store) -> Iterator[tuple[str, _Utterance]]:
    """(id, utterance) of each line of segments; -1 is the end of the recording."""
    for where, id, rest in _fields(data, "segments"):
        fields = (*rest.split(), "", "", "")
        end = None if fields[2] in ("-1", "-1.0", "-1.00") else fields[2]
        yield id, _Utterance(where, fields[0], fields[1], end)


def _whole(files: dict[str, str]) -> Iterator[tuple[str, _Utterance]]:
    """Every recording as one utterance of its own name."""
    for id in files:
        yield id, _Utterance(SCP, id, 0.0, None)


def _fields(data: Store, name: str) -> Iterator[tuple[str, str, str]]:
    """(where, first field, the rest) of each line of a file."""
    text = decoded(data.get(name))
    if not valid(text):
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    for number, line in enumerate(lines(text), 1):
        id, _, rest = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
        if id:
            yield f"{name}:{number}", id, rest.strip()
