"""Listing a folder: one bad entry is set aside by name, and never ends the build."""

import os
import socket
import unicodedata
from pathlib import Path

import pytest
import soundfile

from pipeline.inputs.estimate import HoursEstimate
from pipeline.inputs.listing import list_inputs
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.storage.store import Store
from schemas.errors import DataError, SetupError
from schemas.recording import Unit
from stages.decode import DecodeConfig, DecodeStage
from tests.paths import DEMO

SPOKEN = DEMO / "monologues/LJ002-0020.wav"


def decoded(folder, tmp_path):
    """Id -> None, or the code with which decode sets the recording aside."""
    recordings = list_inputs([str(folder)]).recordings
    HoursEstimate.of(recordings)
    stage = DecodeStage(DecodeConfig(), SpooledAudio(tmp_path / "scratch", DecodeConfig(), "f"), {})
    unit = stage(Unit("u", tuple(r.recording("{}") for r in recordings)))
    return {r.id: next((p.code for p in r.decode.problems), None) for r in unit.recordings}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


NAMES = (
    b"lat\xe9.wav",
    b"tab\there.wav",
    b"take#2",
    b"a\nb.wav",
    b"50%20.wav",
    b"what?.wav",
    b"*[x].wav",
    b"x" * 255,
)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_read(folder, tmp_path, name):
    (folder / os.fsdecode(name)).write_bytes(SPOKEN.read_bytes())
    shown = name.decode("utf-8", "backslashreplace")
    assert decoded(folder, tmp_path) == {shown: None}
    (folder / os.fsdecode(name[:250] + b".stm")).write_text("a 1 A 0 1 hello\n")
    (recording,) = list_inputs([str(folder)]).recordings
    assert [companion.name for companion in recording.companions] == [f"{shown}.stm"][: len(name) < 251]
    recording.id.encode()
    recording.uri.encode()


def test_what_cannot_be_opened_is_set_aside_by_name(folder, tmp_path):
    (folder / "sub").mkdir()
    (folder / "sub" / "good.wav").write_bytes(SPOKEN.read_bytes())
    (folder / "loop").symlink_to(".")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "nowhere.wav").symlink_to("missing.wav")
    (folder / "one.wav").symlink_to("other.wav")
    (folder / "other.wav").symlink_to("one.wav")
    os.mkfifo(folder / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        assert decoded(folder, tmp_path) == {
            "loop": "link_loop",
            "sub/up": "link_loop",
            "nowhere.wav": "dangling_link",
            "one.wav": "link_loop",
            "other.wav": "link_loop",
            "pipe.wav": "not_a_file",
            "socket": "not_a_file",
            "sub/good.wav": None,
        }


def test_folders_that_link_to_each_other_end(folder):
    for one in ("a", "b"):
        (folder / one).mkdir()
        (folder / one / "talk.wav").write_bytes(b"x")
    (folder / "a" / "b").symlink_to("../b")
    (folder / "b" / "a").symlink_to("../a")
    assert {r.id: r.etag for r in list_inputs([str(folder)]).recordings if "loop" in r.etag} == {
        "a/b/a": "a link loop",
        "b/a/b": "a link loop",
    }


@pytest.mark.parametrize(("of", "entry"), [("folder", "closed"), ("file", "closed/a.wav")])
def test_without_permission_the_entry_is_set_aside(folder, tmp_path, monkeypatch, of, entry):
    """Tests may run as root, for whom everything is permitted."""
    (folder / "closed").mkdir()
    (folder / "closed" / "a.wav").write_bytes(SPOKEN.read_bytes())
    scandir, opened = os.scandir, Path.open

    def refuse(path, *arguments):
        if of == "folder" and Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def refuse_file(self, *arguments, **named):
        if of == "file" and self.name == "a.wav":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **named)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(Path, "open", refuse_file)
    assert decoded(folder, tmp_path) == {entry: "unreadable"}


def test_a_companion_without_permission_or_that_is_no_file_is_told(folder, tmp_path, monkeypatch):
    audio = SpooledAudio(tmp_path / "scratch", DecodeConfig(), "f")
    os.mkfifo(folder / "pipe.stm")
    (folder / "loop.stm").symlink_to("loop.stm")
    (folder / "gone.stm").symlink_to("missing")
    (folder / "closed.stm").write_text("")
    (folder / "odd#1.stm").write_text("talk 1 A 0 1 yes\n")
    monkeypatch.setattr(Path, "read_bytes", lambda self: (_ for _ in ()).throw(PermissionError(13, "no")))
    for name, message in (
        ("pipe", "pipe.stm is not a file"),
        ("loop", "loop.stm is a link loop"),
        ("gone", "gone.stm is no longer there"),
        ("closed", "there is no permission to read closed.stm"),
    ):
        with pytest.raises(DataError, match=message):
            audio.text(Store(str(folder)).join(f"{name}.stm"))
    monkeypatch.undo()
    assert audio.text(Store(str(folder)).join("odd#1.stm")) == "talk 1 A 0 1 yes\n"


def test_the_input_itself_must_be_readable(folder, monkeypatch):
    monkeypatch.setattr(
        os, "scandir", lambda path: (_ for _ in ()).throw(PermissionError(13, "no permission"))
    )
    with pytest.raises(SetupError, match="can't read the input"):
        list_inputs([str(folder)])


def test_tags_are_those_of_the_store(folder):
    soundfile.write(folder / "a.wav", [0.0] * 99, 16_000)
    for nanoseconds in (1_700_000_000_123_456_789, 1_699_999_999_999_999_999, 1_234_567_890_000_001_000):
        os.utime(folder / "a.wav", ns=(nanoseconds, nanoseconds))
        (recording,), (stored,) = list_inputs([str(folder)]).recordings, Store(str(folder)).list()
        assert (recording.bytes, recording.etag) == (stored.bytes, stored.etag)
        assert Store(str(folder)).head("a.wav") == stored


def test_a_manifest_sets_aside_what_cannot_be_opened(folder, tmp_path):
    (folder / "nowhere.wav").symlink_to("missing.wav")
    os.mkfifo(folder / "pipe.wav")
    (folder / "m.jsonl").write_text('{"uri": "nowhere.wav"}\n{"uri": "pipe.wav"}\n{"uri": "none.wav"}\n')
    codes = decoded(folder / "m.jsonl", tmp_path)
    assert codes == {"nowhere.wav": "dangling_link", "pipe.wav": "not_a_file", "none.wav": "vanished"}


@pytest.mark.parametrize("key", ["in/tab\there.wav", "in/two\nlines.wav"])
def test_a_key_that_cannot_be_requested_is_set_aside_and_the_rest_is_listed(bucket, s3, tmp_path, key):
    client, name = s3.client(), bucket.removeprefix("s3://")
    for wanted in ("in/a.wav", "in/take#2", "in/é.wav", "in/z.wav", "inside/other.wav"):
        client.put_object(Bucket=name, Key=wanted, Body=SPOKEN.read_bytes())
    client.put_object(Bucket=name, Key=key, Body=b"1")
    assert decoded(f"{bucket}/in", tmp_path) == {
        "a.wav": None, "take#2": None, "é.wav": None, "z.wav": None, key.removeprefix("in/"): "bad_key"
    }  # fmt: skip


def test_names_that_differ_only_in_unicode_form_are_two_recordings(folder, tmp_path):
    names = {unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD")}
    for name in names:
        (folder / name).write_bytes(SPOKEN.read_bytes())
    assert decoded(folder, tmp_path) == dict.fromkeys(names)
