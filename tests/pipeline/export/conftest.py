from dataclasses import replace

import pytest

from pipeline.export.annotated import AnnotatedRecordings
from pipeline.export.names import RecordingNames
from schemas.companions import read
from schemas.text_files import decoded


@pytest.fixture
def turns(spoken):
    """The rows of turns.parquet by recording."""
    found = {}
    with spoken.table("turns") as table:
        for row in table.to_table().to_pylist():
            found.setdefault(row["recording"], []).append(row)
    return found


@pytest.fixture
def renamed(spoken):
    """A recording and its turns, as if the file's name weren't UTF-8."""
    with spoken.table("turns") as table:
        first = next(AnnotatedRecordings(spoken).each(table, RecordingNames(table, "path"), None))
    return replace(first, recording=replace(first.recording, uri="file:///audio/caf%E9.wav"))


@pytest.fixture
def dataset(spoken):
    """The folder of the dataset."""
    return spoken.store.directory


@pytest.fixture
def read_back():
    """(start, end, speaker, text) of a file, as a build reads it beside a recording."""

    def segments(file):
        kind = file.suffix.removeprefix(".").lower()
        annotation = read(kind, decoded(file.read_bytes()), file.name, file.stem)
        assert (annotation.aside, annotation.notes) == ((), ())
        return [(s.start, s.end, s.speaker, s.text) for s in annotation.segments]

    return segments
