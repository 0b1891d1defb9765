from io import StringIO

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyannote.database.util import load_rttm

from pipeline.export.names import RecordingNames, field, file_name

PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300)


def names_of(recordings, form):
    table = ds.dataset(pa.table({"recording": recordings}))
    return [RecordingNames(table, form)(recording) for recording in recordings]


@pytest.mark.parametrize(
    ("form", "expected"),
    [("path", ["a__one.wav", "two.tar.flac", "none"]), ("stem", ["one", "two.tar", "none"])],
)
def test_a_recording_is_named_by_its_path_or_by_its_stem(form, expected):
    assert names_of(["a/one.wav", "two.tar.flac", "none"], form) == expected


@pytest.mark.parametrize(
    ("form", "recordings"), [("path", ["a/b.wav", "a__b.wav"]), ("stem", ["a/b.wav", "c/b.flac"])]
)
def test_recordings_that_would_have_the_same_name_get_a_hash(form, recordings):
    *names, other = names_of([*recordings, "other.wav"], form)
    assert len(set(names)) == 2
    assert all(len(name.rpartition("-")[2]) == 16 for name in names)
    assert other == file_name("other.wav", form)


@given(PATHS)
def test_any_recording_has_a_file_name(recording):
    for unique in (False, True):
        for form in ("path", "stem"):
            name = file_name(recording, form, unique)
            assert "/" not in name
            assert len(f"{name}.TextGrid".encode()) <= 255


@given(PATHS, PATHS)
def test_long_names_stay_distinct(one, other):
    if one != other:
        assert file_name(one, unique=True) != file_name(other, unique=True)


@given(PATHS, st.text(max_size=20))
def test_any_name_becomes_a_field_that_readers_accept(name, speaker):
    # What pandas takes for a missing value is one thing that no spelling helps.
    uri, label = f"{field(name)}.wav", f"S{field(speaker)}"
    line = f"SPEAKER {uri} 1 0.000 1.000 <NA> <NA> {label} <NA> <NA>"
    assert len(line.split()) == 10
    [(read, annotation)] = load_rttm(StringIO(f"{line}\n")).items()
    assert (read, annotation.labels()) == (uri, [label])
