"""Listing: recordings and the files beside them, the same on disk and on S3."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.listing import list_inputs
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.storage.store import Store
from schemas.errors import SetupError

FILES = (
    "calls/one.wav",
    "calls/one.wav.json",
    "calls/one.rttm",
    "calls/two words – 语音 (1).flac",
    "calls/deep/three.mp3",
    "calls/deep/three.stm",
    "no_extension",
    "README.md",
    ".hidden/x.wav",
)


@pytest.fixture(params=["file", "s3"])
def folder(request, tmp_path):
    """URI or path of a folder with some files."""
    place = str(tmp_path) if request.param == "file" else f"{request.getfixturevalue('bucket')}/in"
    for name in FILES:
        Store(place).put_new(name, b"12345")
    return place


def ids(listing):
    return [r.id for r in listing.recordings]


def test_a_directory_lists_its_recordings_without_the_files_beside_them(folder):
    listing = list_inputs([folder])
    assert ids(listing) == [
        "calls/deep/three.mp3",
        "calls/one.wav",
        "calls/two words – 语音 (1).flac",
        "no_extension",
    ]
    assert listing.roots[0].recordings == 4


def test_files_beside_a_recording_belong_to_it(folder):
    by_id = {r.id: r for r in list_inputs([folder]).recordings}
    assert by_id["calls/one.wav"].sidecar.uri.endswith("calls/one.wav.json")
    assert [c.kind for c in by_id["calls/one.wav"].companions] == ["rttm"]
    assert [c.kind for c in by_id["calls/deep/three.mp3"].companions] == ["stm"]
    assert by_id["no_extension"].sidecar is None


def test_a_single_file_has_its_sidecar(folder):
    (recording,) = list_inputs([f"{folder}/calls/one.wav"]).recordings
    assert recording.id == "one.wav"
    assert recording.sidecar is not None
    assert [c.kind for c in recording.companions] == ["rttm"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("calls/*.wav", ["one.wav"]),
        ("**/*.mp3", ["calls/deep/three.mp3"]),
        ("calls/**", ["deep/three.mp3", "one.wav", "two words – 语音 (1).flac"]),
        ("calls/[ot]*", ["one.wav", "two words – 语音 (1).flac"]),
    ],
)
def test_globs_cross_folders_with_two_stars_only(folder, pattern, found):
    assert ids(list_inputs([f"{folder}/{pattern}"])) == found


def test_the_same_file_named_twice_is_one_recording(folder):
    assert len(list_inputs([folder, f"{folder}/calls/one.wav"]).recordings) == 4


def test_equal_names_from_two_folders_are_prefixed_with_the_folders(folder, tmp_path):
    other = tmp_path / "more"
    other.mkdir()
    (other / "one.wav").write_bytes(b"1")
    assert ids(list_inputs([f"{folder}/calls", str(other)])) == [
        "calls/one.wav",
        "deep/three.mp3",
        "more/one.wav",
        "two words – 语音 (1).flac",
    ]


def test_ignored_files_are_counted(folder):
    assert list_inputs([folder]).roots[0].ignored == 2


def test_folder_markers_are_not_recordings(bucket, s3):
    Store(bucket).put_new("calls/one.wav", b"1")
    s3.client().put_object(Bucket=bucket.removeprefix("s3://"), Key="calls/empty/", Body=b"")
    assert ids(list_inputs([bucket])) == ["calls/one.wav"]


def written(folder, name, lines):
    """URI of a manifest of these rows."""
    store = Store(folder)
    if name.endswith(".parquet"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(lines), sink)
        store.put_new(name, sink.getvalue().to_pybytes())
    else:
        store.put_new(name, "".join(json.dumps(line) + "\n" for line in lines).encode())
    return f"{folder}/{name}"


@pytest.mark.parametrize("name", ["calls.jsonl", "calls.parquet"])
def test_a_manifest_names_recordings_as_their_folder_would(folder, name):
    uris = ["calls/two words – 语音 (1).flac", Store(folder).join("calls/one.wav")]
    manifest = written(folder, name, [{"uri": uri} for uri in uris])
    listed = {r.id: r for r in list_inputs([folder]).recordings}
    named = list_inputs([manifest]).recordings
    assert [r.id for r in named] == ["calls/one.wav", "calls/two words – 语音 (1).flac"]
    for recording in named:
        assert (recording.uri, recording.bytes, recording.etag) == (
            listed[recording.id].uri,
            listed[recording.id].bytes,
            listed[recording.id].etag,
        )


@pytest.mark.parametrize("name", ["calls.jsonl", "calls.parquet"])
def test_the_other_fields_of_a_manifest_are_the_sidecar(folder, name, tmp_path):
    rows = [
        {"uri": "calls/one.wav", "licence": "CC0 – frei", "year": 1999},
        {"uri": "no_extension", "licence": None, "year": None},
    ]
    one, other = list_inputs([written(folder, name, rows)]).recordings
    said = SpooledAudio(tmp_path, None, "").text(one.sidecar.uri)
    assert json.loads(said) == {"licence": "CC0 – frei", "year": 1999}
    assert other.sidecar is None
    rows[0]["year"] = 2000
    (changed, _) = list_inputs([written(folder, f"new-{name}", rows)]).recordings
    assert changed.sidecar.etag != one.sidecar.etag


def test_with_size_and_tag_in_a_manifest_the_recording_is_not_requested(tmp_path):
    rows = [{"uri": "s3://no-such-bucket-at-all/x/a.wav", "bytes": 5.0, "etag": "abc"}]
    (recording,) = list_inputs([written(str(tmp_path), "m.jsonl", rows)]).recordings
    assert (recording.id, recording.bytes, recording.etag) == ("no-such-bucket-at-all/x/a.wav", 5, "abc")
    assert recording.sidecar is None


def test_a_missing_recording_of_a_manifest_is_listed_and_later_set_aside(folder):
    (recording,) = list_inputs([written(folder, "m.jsonl", [{"uri": "calls/none.wav"}])]).recordings
    assert (recording.id, recording.bytes) == ("calls/none.wav", 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{uri: x}\n", r"m.jsonl:1: .*not valid JSON"),
        ('{"uri": "a"}\n[]\n', r"m.jsonl:2: every row names"),
        ('{"uri": ""}\n', r"m.jsonl:1: every row names a recording by its `uri`"),
        ('{"uri": null}\n', r"m.jsonl:1: every row names a recording by its `uri`"),
        ('{"uri": "a", "bytes": "12 MB"}\n', r'm.jsonl:1: `bytes` is the size of the file.*"12 MB"'),
        ('{"uri": "a", "bytes": -1}\n', r"m.jsonl:1: `bytes` is the size of the file"),
        ('{"uri": "a", "bytes": true}\n', r"m.jsonl:1: `bytes` is the size of the file"),
        ('{"uri": "a", "bytes": 1, "etag": [1]}\n', r"m.jsonl:1: `etag` is a text"),
        ('{"uri": "ftp://host/a"}\n', r"m.jsonl:1: can't read ftp"),
    ],
)
def test_an_invalid_line_of_a_manifest_is_reported(tmp_path, text, message):
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(SetupError, match=message):
        list_inputs([str(tmp_path / "m.jsonl")])


def test_a_missing_path_and_an_empty_folder_are_errors(tmp_path):
    with pytest.raises(SetupError, match="no such file or directory"):
        list_inputs([str(tmp_path / "nowhere")])
    with pytest.raises(SetupError, match="no recording found"):
        list_inputs([str(tmp_path)])
    with pytest.raises(SetupError, match="no such file"):
        list_inputs([str(tmp_path / "m.jsonl")])


def test_an_input_that_exists_is_not_taken_for_a_glob(folder):
    Store(folder).put_new("take[1].wav", b"1")
    Store(folder).put_new("set[1]/a.wav", b"1")
    manifest = written(folder, "a[1].jsonl", [{"uri": "calls/one.wav"}])
    assert ids(list_inputs([manifest])) == ["calls/one.wav"]
    assert ids(list_inputs([f"{folder}/take[1].wav"])) == ["take[1].wav"]
    assert ids(list_inputs([f"{folder}/set[1]"])) == ["a.wav"]
