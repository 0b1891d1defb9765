"""Parquet with a column of audio: a recording per row, whose audio is read when it is decoded."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.recording_files import RecordingFiles
from pipeline.inputs.table_audio import AudioColumn
from pipeline.storage.store import Store
from schemas.errors import DataError, SetupError
from tests.pipeline.inputs.formats.given import ONE, OTHER, fields, listed, seconds, turns, why

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ROWS = [
    {
        "audio": {"bytes": ONE.read_bytes(), "path": "one.wav"},
        "sentence": "by some people",
        "client_id": "c1",
        "up_votes": 2,
        "codes": [1, 2],
    },
    {"audio": {"bytes": OTHER.read_bytes(), "path": None}, "sentence": " ", "up_votes": None},
]
SCHEMA = pa.schema(
    [
        ("audio", AUDIO),
        ("sentence", pa.string()),
        ("client_id", pa.string()),
        ("up_votes", pa.int64()),
        ("codes", pa.list_(pa.int32())),
    ]
)


def table(rows=ROWS, schema=SCHEMA, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, **options)
    return sink.getvalue().to_pybytes()


@pytest.fixture(params=["file", "s3"])
def place(request, tmp_path):
    return str(tmp_path / "in") if request.param == "file" else f"{request.getfixturevalue('bucket')}/in"


@pytest.mark.parametrize("group", [1, 100])
def test_a_row_is_a_recording(place, tmp_path, group):
    store = Store(place)
    store.put_new("data/train-0.parquet", table(row_group_size=group))
    store.put_new("README.md", b"# A card")
    for entry in (place, f"{place}/data/*.parquet", f"{place}/data/train-0.parquet"):
        found = {id.removeprefix("data/"): recording for id, recording in listed(entry).items()}
        assert list(found) == ["train-0.parquet/000000/one.wav", "train-0.parquet/000001"]
    one, other = found.values()
    assert turns(one) == [(0, float("inf"), "c1", "by some people")]
    assert fields(one) == {"sentence": "by some people", "client_id": "c1", "up_votes": 2}
    assert (turns(other), fields(other)) == ([], {"sentence": " "})
    files = RecordingFiles()
    for recording, source in ((other, OTHER), (one, ONE), (other, OTHER)):
        with files.local(recording.uri, recording.etag, tmp_path) as path:
            assert path.read_bytes() == source.read_bytes()
    assert seconds(one, tmp_path / "scratch") > 1


def test_large_row_groups_are_streamed(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(table(ROWS * 10))
    found = listed(tmp_path)
    monkeypatch.setattr("pipeline.inputs.table_audio.KEPT", 1000)
    for id, source in (("a.parquet/000000/one.wav", ONE), ("a.parquet/000017", OTHER)):
        with RecordingFiles().local(found[id].uri, found[id].etag) as path:
            assert path.read_bytes() == source.read_bytes()


def test_rows_without_audio_name_files_beside_the_table(tmp_path):
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs" / "one.wav").write_bytes(ONE.read_bytes())
    rows = [{"audio": {"bytes": None, "path": "wavs/one.wav"}, "sentence": "hi"}]
    (tmp_path / "a.parquet").write_bytes(table(rows))
    (one,) = listed(tmp_path / "a.parquet").values()
    assert (one.id, one.bytes) == ("wavs/one.wav", ONE.stat().st_size)
    assert turns(one) == [(0, float("inf"), "somebody", "hi")]


def test_columns_of_audio_are_found_by_type_and_name():
    def column(*columns):
        found = AudioColumn.of(pa.schema(columns))
        return found and found.bytes

    image = ("image", AUDIO)
    assert column(image, ("audio", AUDIO)) == "audio.bytes"
    assert column(("clip", AUDIO)) == "clip.bytes"
    assert column(("hash", pa.binary()), ("wav", pa.binary())) == "wav"
    assert column(("hash", pa.binary()), ("audio", pa.string())) is None


def test_a_row_without_audio_is_set_aside_when_it_is_read(tmp_path):
    (tmp_path / "a.parquet").write_bytes(table([*ROWS, {"audio": None, "sentence": "lost"}]))
    lost = listed(tmp_path)["a.parquet/000002"]
    with pytest.raises(DataError, match="no audio"), RecordingFiles().local(lost.uri, lost.etag):
        pass


def test_a_damaged_table_is_set_aside_and_the_others_are_read(tmp_path):
    (tmp_path / "a.parquet").write_bytes(table()[:-20])
    (tmp_path / "b.parquet").write_bytes(table())
    found = listed(tmp_path)
    assert why(found["a.parquet"])[0] == "damaged_archive"
    assert len(found) == 3


def test_a_damaged_row_group_is_set_aside_when_it_is_read(tmp_path):
    data = bytearray(table(row_group_size=1, compression="zstd"))
    data[4:40] = b"\xff" * 36  # the header of its first page
    (tmp_path / "a.parquet").write_bytes(data)
    one, other = listed(tmp_path).values()
    files = RecordingFiles()
    with pytest.raises(DataError, match="row group 0"), files.local(one.uri, one.etag):
        pass
    with files.local(other.uri, other.etag) as path:
        assert path.read_bytes() == OTHER.read_bytes()


def test_a_changed_table_is_a_changed_input(tmp_path):
    (tmp_path / "a.parquet").write_bytes(table())
    before = listed(tmp_path)["a.parquet/000001"]
    (tmp_path / "a.parquet").write_bytes(table(ROWS * 2))
    assert listed(tmp_path)["a.parquet/000001"].etag != before.etag


def test_tables_without_audio_are_no_recordings(tmp_path):
    (tmp_path / "a.parquet").write_bytes(table([{"id": 1}], pa.schema([("id", pa.int64())])))
    with pytest.raises(SetupError, match="no recording found"):
        listed(tmp_path)
    with pytest.raises(SetupError, match=r"not by id.*column of audio"):
        listed(tmp_path / "a.parquet")


def test_a_table_in_the_form_of_nemo(tmp_path):
    (tmp_path / "one.wav").write_bytes(ONE.read_bytes())
    rows = [{"audio_filepath": "one.wav", "offset": 0.5, "duration": 1.0, "text": "hi"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert turns(listed(tmp_path / "a.parquet")["one.wav"]) == [(0.5, 1.5, "somebody", "hi")]


def test_what_datasets_writes_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"audio": [str(ONE)], "text": ["hi"]}
    data = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    data.map(lambda row: {"audio": {"bytes": ONE.read_bytes(), "path": "one.wav"}}).to_parquet(
        str(tmp_path / "train.parquet")
    )
    (one,) = listed(tmp_path).values()
    assert turns(one) == [(0, float("inf"), "somebody", "hi")]
    with RecordingFiles().local(one.uri, one.etag) as path:
        assert path.read_bytes() == ONE.read_bytes()
    json.dumps(fields(one))
