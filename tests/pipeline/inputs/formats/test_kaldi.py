"""Kaldi's data folders: files of wav.scp, with segments, text and speakers; commands are refused by name."""

import pytest

from pipeline.storage.store import Store
from tests.pipeline.inputs.formats.given import ONE, fields, listed, turns, why

SEGMENTS = "ann-1 call 0.5 1.5\nann-2 call 2.0 -1\nbob-1 call 1.6 1.9\n"
TEXT = "ann-1 hello there\nann-2 and bye\nbob-1\n"
SPEAKERS = "ann-1 ann\nann-2 ann\nbob-1 bob\n"


@pytest.fixture
def data(tmp_path):
    """Writes a data folder with a recording `call`, and more files by name."""
    (tmp_path / "call.wav").write_bytes(ONE.read_bytes())

    def write(scp="call call.wav\n", **files):
        for name, text in ({"wav.scp": scp} | files).items():
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def test_segments_are_turns_of_one_recording(data):
    folder = data(segments=SEGMENTS, text=TEXT, utt2spk=SPEAKERS, utt2lang="ann-1 en\nann-2 en\nbob-1 en\n")
    for entry in (folder, folder / "wav.scp"):
        found = listed(entry)
        assert list(found) == ["call.wav"], "wav.scp and the others are no recordings"
        assert turns(found["call.wav"]) == [
            (0.5, 1.5, "ann", "hello there"),
            (1.6, 1.9, "bob", None),
            (2.0, float("inf"), "ann", "and bye"),
        ]
        assert fields(found["call.wav"]) == {"recording": "call", "language": "en"}


def test_without_segments_an_utterance_is_a_whole_recording(data):
    (call,) = listed(data(text="call all of it\n", utt2spk="call call\n")).values()
    assert turns(call) == [(0, float("inf"), "somebody", "all of it")], (
        "a speaker of the utterance's name is none"
    )


def test_a_list_of_files_gives_no_turns(data):
    (call,) = listed(data()).values()
    assert call.companions == ()


def test_the_tag_is_that_of_the_file_and_of_what_is_said_about_it(data):
    (before,) = listed(data(text="call a\n")).values()
    (after,) = listed(data(text="call b\n")).values()
    assert before.etag == after.etag
    assert before.companions[0].etag != after.companions[0].etag


def test_relative_paths_are_those_of_the_working_directory_where_there_is_the_file(
    data, tmp_path, monkeypatch
):
    (tmp_path / "s5").mkdir()
    (tmp_path / "s5" / "call.wav").write_bytes(b"other")
    folder = data()
    assert listed(folder)["call.wav"].uri == (tmp_path / "call.wav").as_uri()
    monkeypatch.chdir(tmp_path / "s5")
    assert [r.uri for r in listed(folder).values()] == [(tmp_path / "s5" / "call.wav").as_uri()]


def test_a_data_folder_in_a_bucket(bucket):
    store = Store(f"{bucket}/train")
    store.put_new("wav.scp", b"call wavs/call.wav\n")
    store.put_new("text", b"call hello\n")
    store.put_new("wavs/call.wav", b"12345")
    (call,) = listed(f"{bucket}/train").values()
    assert (call.id, call.uri, call.bytes) == ("wavs/call.wav", f"{bucket}/train/wavs/call.wav", 5)
    assert turns(call) == [(0, float("inf"), "somebody", "hello")]


def test_lines_that_cant_be_used_are_set_aside_by_name(data):
    scp = "a call.wav\nb sph2pipe -f wav b.sph |\nc\nd raw.ark:1234\n"
    found = listed(data(scp, segments="a-1 a 0 1\nb-1 b 0 1\nx-1 nobody 0 1\n"))
    assert turns(found.pop("call.wav")) == [(0, 1, "somebody", None)]
    assert {id: why(r)[0] for id, r in found.items()} == {
        "wav.scp:2 (b)": "command",
        "wav.scp:3 (c)": "bad_row",
        "wav.scp:4 (d)": "ark",
        "segments:3": "bad_row",
    }


def test_a_bad_time_is_a_bad_line_of_its_recording(data):
    (call,) = listed(data(segments="u-1 call 0 1\nu-2 call x 2\nu-3 call\n")).values()
    assert turns(call) == [(0, 1, "somebody", None)]
