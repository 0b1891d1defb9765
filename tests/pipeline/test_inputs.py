"""Listing: what is a recording, what stands beside one."""

import pytest

from pipeline.inputs import list_inputs
from schemas.errors import SetupError


@pytest.fixture
def folder(tmp_path):
    for name in (
        "calls/one.wav",
        "calls/one.wav.json",
        "calls/one.rttm",
        "calls/two words – 语音 (1).flac",
        "calls/deep/three.mp3",
        "calls/deep/three.stm",
        "no_extension",
        "README.md",
        ".hidden/x.wav",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return tmp_path


def ids(listing):
    return [r.id for r in listing.recordings]


def test_a_directory_gives_its_files_but_not_what_stands_beside_them(folder):
    listing = list_inputs([str(folder)])
    assert ids(listing) == [
        "calls/deep/three.mp3",
        "calls/one.wav",
        "calls/two words – 语音 (1).flac",
        "no_extension",
    ]
    assert listing.roots[0].recordings == 4


def test_files_beside_a_recording_belong_to_it(folder):
    by_id = {r.id: r for r in list_inputs([str(folder)]).recordings}
    assert by_id["calls/one.wav"].sidecar.uri.endswith("calls/one.wav.json")
    assert [c.kind for c in by_id["calls/one.wav"].companions] == ["rttm"]
    assert [c.kind for c in by_id["calls/deep/three.mp3"].companions] == ["stm"]
    assert by_id["no_extension"].sidecar is None


def test_one_file_alone_keeps_its_sidecar(folder):
    (recording,) = list_inputs([str(folder / "calls/one.wav")]).recordings
    assert recording.id == "one.wav"
    assert recording.sidecar is not None


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
    assert ids(list_inputs([str(folder / pattern)])) == found


def test_the_same_file_named_twice_is_one_recording(folder):
    assert len(list_inputs([str(folder), str(folder / "calls/one.wav")]).recordings) == 4


def test_equal_names_from_two_folders_get_the_folders_in_front(folder, tmp_path):
    other = tmp_path / "more"
    other.mkdir()
    (other / "one.wav").write_bytes(b"1")
    assert ids(list_inputs([str(folder / "calls"), str(other)])) == [
        "calls/one.wav",
        "deep/three.mp3",
        "more/one.wav",
        "two words – 语音 (1).flac",
    ]


def test_a_wrong_path_and_an_empty_folder_are_told(tmp_path):
    with pytest.raises(SetupError, match="no such file or directory"):
        list_inputs([str(tmp_path / "nowhere")])
    with pytest.raises(SetupError, match="no recording found"):
        list_inputs([str(tmp_path)])
