"""Which files belong to a recording by their names."""

import unicodedata

import pytest

from pipeline.inputs.beside import FilesBeside
from pipeline.inputs.listing import list_inputs
from pipeline.storage.store import Store, StoredObject


def beside(recordings, files):
    """Recording -> its files by kind; and the strays."""
    found = FilesBeside([StoredObject(path, 1, "1", 0) for path in files], recordings)
    own = {name: {kind: file.path for kind, file in found.of(name).items()} for name in recordings}
    return own, found.strays()


def nfc(text):
    return unicodedata.normalize("NFC", text)


def nfd(text):
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    ("recording", "file", "kind"),
    [
        ("UPPER.WAV", "UPPER.STM", "stm"),
        ("calls/Upper.wav", "calls/upper.Stm", "stm"),
        ("Talk.wav", "talk.WAV.Json", "json"),
        (nfd("société.wav"), nfc("société.stm"), "stm"),
        (nfc("SOCIÉTÉ.wav"), nfd("société.TextGrid"), "textgrid"),
        ("straße.wav", "STRASSE.vtt", "vtt"),
        ("talk.wav", "talk.srt", "srt"),
        ("no_extension", "no_extension.ctm", "ctm"),
    ],
)
def test_names_match_whatever_their_case_and_unicode_form(recording, file, kind):
    assert beside([recording], [file]) == ({recording: {kind: file}}, [])


def test_an_equal_name_comes_before_one_that_is_alike():
    own, strays = beside(["a.wav", "A.wav"], ["a.stm", "A.stm"])
    assert own == {"a.wav": {"stm": "a.stm"}, "A.wav": {"stm": "A.stm"}}
    assert strays == []
    own, strays = beside(["a.wav"], ["a.stm", "A.stm", "a.wav.stm"])
    assert own == {"a.wav": {"stm": "a.wav.stm"}}
    assert strays == ["A.stm", "a.stm"]


@pytest.mark.parametrize(
    ("one", "other", "file"),
    [("Talk.wav", "tALK.wav", "talk.stm"), (nfc("é.wav"), nfd("é.wav"), "É.stm")],
)
def test_a_file_that_may_belong_to_two_recordings_belongs_to_none(one, other, file):
    assert beside([one, other], [file]) == ({one: {}, other: {}}, [file])


def test_two_recordings_of_one_name_share_its_files():
    own, strays = beside(["talk.wav", "talk.mp3"], ["talk.stm"])
    assert own == {"talk.wav": {"stm": "talk.stm"}, "talk.mp3": {"stm": "talk.stm"}}
    assert strays == []


def test_other_folders_are_no_match():
    assert beside(["a/talk.wav"], ["b/talk.stm", "talk.stm"]) == (
        {"a/talk.wav": {}},
        ["b/talk.stm", "talk.stm"],
    )


@pytest.mark.parametrize("place", ["file", "s3"])
def test_a_listing_names_companions_without_a_recording(place, request, tmp_path):
    folder = str(tmp_path) if place == "file" else f"{request.getfixturevalue('bucket')}/in"
    for name in ("UPPER.WAV", "upper.stm", "typo.rttm", "UPPER.srt", "upper.txt", "LICENCE.txt"):
        Store(folder).put_new(name, b"1")
    listing = list_inputs([folder])
    (recording,) = listing.recordings
    assert [companion.kind for companion in recording.companions] == ["stm", "srt", "txt"]
    (root,) = listing.roots
    assert (root.strays, root.strays_shown, root.ignored) == (1, ("typo.rttm",), 1)


def test_a_single_file_finds_companions_of_another_case(tmp_path):
    for name in ("Talk.wav", "talk.STM", "talks.rttm", "other.wav"):
        (tmp_path / name).write_bytes(b"1")
    (recording,) = list_inputs([str(tmp_path / "Talk.wav")]).recordings
    assert [companion.name for companion in recording.companions] == ["talk.STM"]
