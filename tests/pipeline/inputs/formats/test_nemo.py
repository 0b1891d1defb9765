"""NeMo's manifests: rows on one file are one recording with several turns; bad rows are set aside by line."""

import gzip
import json
import tarfile

import pytest

from pipeline.inputs.recording_files import RecordingFiles
from pipeline.inputs.small_files import read_text
from schemas.errors import SetupError
from tests.pipeline.inputs.formats.given import ONE, OTHER, fields, listed, seconds, turns, why


def manifest(path, *rows):
    path.write_text("".join((json.dumps(row) if isinstance(row, dict) else row) + "\n" for row in rows))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs" / "one.wav").write_bytes(ONE.read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", ["manifest.json", "train.jsonl"])
def test_segments_of_one_file_are_turns_of_one_recording(folder, name):
    common = {"audio_filepath": "wavs/one.wav", "lang": "en"}
    file = manifest(
        folder / name,
        common | {"offset": 0.5, "duration": 1.0, "text": "hi there", "speaker": "A", "id": 1},
        {"audio_filepath": str(OTHER), "duration": 4.0, "text": "whole", "lang": "en", "id": 2},
        common | {"offset": 2, "duration": 0.5, "text": "yes", "speaker": "B", "id": 3},
    )
    found = listed(file)
    assert list(found) == sorted([str(OTHER).lstrip("/"), "wavs/one.wav"])
    one, other = found["wavs/one.wav"], found[str(OTHER).lstrip("/")]
    assert turns(one) == [(0.5, 1.5, "A", "hi there"), (2, 2.5, "B", "yes")]
    assert turns(other) == [(0, 4, "somebody", "whole")]
    assert fields(one) == {"lang": "en"}, "what its rows agree on"
    assert fields(other) == {"id": 2, "lang": "en"}


def test_the_audio_is_that_of_the_file_itself(folder, tmp_path):
    (one,) = listed(manifest(folder / "m.json", {"audio_filepath": "wavs/one.wav", "text": "a"})).values()
    direct = listed(folder / "wavs")["one.wav"]
    assert (one.uri, one.bytes, one.etag) == (direct.uri, direct.bytes, direct.etag)
    assert seconds(one, tmp_path / "scratch") > 1


def test_a_list_of_files_gives_no_turns(folder):
    (one,) = listed(manifest(folder / "m.json", {"audio_filepath": "wavs/one.wav", "duration": 9})).values()
    assert one.companions == ()


def test_a_changed_row_is_a_changed_annotation(folder):
    row = {"audio_filepath": "wavs/one.wav", "duration": 1}
    tags = [
        listed(manifest(folder / "m.json", row | {"text": text}))["wavs/one.wav"].companions[0].etag
        for text in ("a", "b")
    ]
    assert tags[0] != tags[1]


def test_a_diarization_manifest_names_an_rttm(folder):
    (folder / "one.rttm").write_text("SPEAKER one 1 0 1 <NA> <NA> A <NA> <NA>\n")
    row = {"audio_filepath": "wavs/one.wav", "offset": 0, "duration": None, "text": "-", "label": "infer"}
    (one,) = listed(manifest(folder / "m.json", row | {"rttm_filepath": "one.rttm"})).values()
    assert turns(one) == [(0, 1, "A", None)]


def test_channels_count_from_zero(folder):
    rows = [{"audio_filepath": "wavs/one.wav", "duration": 1, "text": "a", "channel": 1}]
    (one,) = listed(manifest(folder / "m.json", *rows)).values()
    assert '"channel": 2' in read_text(one.companions[0].uri, 10_000)


def test_bad_rows_are_set_aside_by_their_line(folder):
    file = manifest(
        folder / "m.json",
        {"audio_filepath": "wavs/one.wav", "text": "good"},
        "{broken",
        "[]",
        {"audio_filepath": ["a.wav", "b.wav"]},
        {"text": "no file"},
        {"audio_filepath": "https://host/x.wav"},
    )
    found = listed(file)
    assert turns(found.pop("wavs/one.wav")) == [(0, float("inf"), "somebody", "good")]
    assert {id: why(r)[0] for id, r in found.items()} == {
        "m.json:2": "bad_json",
        "m.json:3": "bad_row",
        "m.json:4": "bad_row",
        "m.json:5": "bad_row",
        "m.json:6": "bad_row",
    }


def test_a_bad_time_is_a_bad_line_of_its_recording(folder):
    rows = [{"audio_filepath": "wavs/one.wav", "offset": o, "duration": 1, "text": "a"} for o in (0, "x")]
    (one,) = listed(manifest(folder / "m.json", *rows)).values()
    assert turns(one) == [(0, 1, "somebody", "a")]


def test_a_missing_file_is_listed_and_later_set_aside(folder):
    (one,) = listed(manifest(folder / "m.json", {"audio_filepath": "no.wav"})).values()
    assert (one.id, one.etag) == ("no.wav", "missing")


def test_a_manifest_may_be_compressed_and_a_damaged_one_keeps_its_rows(folder):
    rows = "".join(
        json.dumps({"audio_filepath": "wavs/one.wav", "offset": n, "duration": 1, "text": f"t{n}"}) + "\n"
        for n in range(3000)
    )
    data = gzip.compress(rows.encode())
    (folder / "m.jsonl.gz").write_bytes(data)
    (one,) = listed(folder / "m.jsonl.gz").values()
    assert len(turns(one)) == 3000
    (folder / "m.jsonl.gz").write_bytes(data[: len(data) // 2])
    found = listed(folder / "m.jsonl.gz")
    assert 0 < len(turns(found.pop("wavs/one.wav"))) < 3000
    assert [why(r)[0] for r in found.values()] == ["bad_json"]


def test_a_manifest_of_nobody_is_told_apart(folder):
    with pytest.raises(SetupError, match=r"by its `uri`, not by path, words.*NeMo"):
        listed(manifest(folder / "m.jsonl", {"path": "a.wav", "words": 3}))


def test_tarred_rows_name_members_of_the_tars_beside_the_manifest(folder, tmp_path):
    data = folder / "tarred" / "train"
    data.mkdir(parents=True)
    with tarfile.open(data / "audio_0.tar", "w") as archive:
        archive.add(ONE, "one.wav")
        archive.add(OTHER, "unnamed.flac")
    row = {"audio_filepath": "one.wav", "offset": 33.5, "duration": 1.0, "text": "hi", "shard_id": 0}
    rows = [row, row | {"audio_filepath": "no.wav"}, row | {"shard_id": 7}]
    file = manifest(data / "tarred_audio_manifest.json", *rows)
    for entry, prefix in ((folder / "tarred", "train/"), (file, "")):
        found = listed(entry)
        one = found.pop(f"{prefix}audio_0.tar/one.wav")
        assert turns(one) == [(0, float("inf"), "somebody", "hi")]
        with RecordingFiles().local(one.uri, one.etag, tmp_path) as path:
            assert path.read_bytes() == ONE.read_bytes()
        assert {id: why(r)[0] for id, r in found.items()} == {
            f"{prefix}tarred_audio_manifest.json:2": "vanished",
            f"{prefix}tarred_audio_manifest.json:3": "vanished",
        }
