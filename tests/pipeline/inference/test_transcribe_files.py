"""`aqaa-data transcribe`."""

import json
import os
import shutil

import pytest

from tests.paths import RECORDINGS

SENTENCE = RECORDINGS / "demo/monologues/LJ002-0020.wav"
TALK = RECORDINGS / "demo/conversations/az_katiesteve.flac"


def test_two_speakers_take_turns(command):
    done = command("transcribe", TALK, "--format", "json")
    assert done.code == 0
    talk = json.loads(done.stdout)
    assert talk["file"] == str(TALK)
    assert talk["seconds"] == pytest.approx(29.4875)
    first, second = talk["turns"][:2]
    assert (first["text"], second["text"]) == ("Good morning, Steve.", "Good morning, Katie.")
    assert first["speaker"] != second["speaker"]
    assert len({turn["speaker"] for turn in talk["turns"]}) == 2
    assert [word["text"].strip() for word in second["words"]] == ["Good", "morning,", "Katie."]
    times = [time for turn in talk["turns"] for time in (turn["start"], turn["end"])]
    assert times == sorted(times)


def test_words_that_are_no_training_data_are_written_down_too(command):
    done = command("transcribe", SENTENCE)
    [line] = done.stdout.splitlines()
    assert line.rstrip(".") == "[0:00.03 - 0:01.50] SPEAKER_00: in 1813"  # int8 rounds by processor


@pytest.mark.parametrize(
    ("form", "begins"), [("srt", "1\n00:00:00,0"), ("vtt", "WEBVTT\n"), ("rttm", "SPEAKER ")]
)
def test_files_in_the_formats_of_other_tools(command, tmp_path, form, begins):
    done = command("transcribe", SENTENCE, TALK, "--format", form, "--to", tmp_path / "out")
    assert done.code == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"LJ002-0020.{form}", f"az_katiesteve.{form}"]
    assert all(file.read_text().startswith(begins) for file in files)


def test_files_that_cannot_be_read_are_named_and_the_others_transcribed(command, tmp_path):
    (tmp_path / "page.mp3").write_text("<html>")
    os.mkfifo(pipe := tmp_path / "pipe.wav")
    done = command("transcribe", tmp_path / "page.mp3", tmp_path / "none.wav", tmp_path, pipe, SENTENCE)
    assert done.code == 1
    assert len(done.stdout.splitlines()) == 1
    assert f"{tmp_path}/none.wav: there is no such file" in done.stderr
    assert f"{tmp_path}/page.mp3: " in done.stderr
    assert f"{pipe}: it is a pipe, a socket or a device, not a file" in done.stderr
    assert "4 of 5 files could not be transcribed" in done.stderr


def test_a_directory_that_cannot_be_written_is_told_before_anything_is_transcribed(command, tmp_path):
    (tmp_path / "file").touch()
    done = command("transcribe", SENTENCE, "--to", tmp_path / "file" / "out")
    assert (done.code, done.stderr) == (
        1,
        f"aqaa-data: {tmp_path}/file/out can't be written: Not a directory\n",
    )


def test_any_file_name_is_read_and_written(command, tmp_path):
    for name in (b"a b#c%20.wav", b"caf\xe9.wav"):
        shutil.copy(SENTENCE, os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    done = command("transcribe", *sorted(tmp_path.iterdir()), "--format", "rttm", "--to", tmp_path / "out")
    assert (done.code, done.stderr) == (0, "")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"a b#c%20.rttm", r"caf\xe9.rttm"}


def test_several_files_need_a_directory_and_different_names(command, tmp_path):
    done = command("transcribe", SENTENCE, TALK, "--format", "srt")
    assert (done.code, "name one with --to" in done.stderr) == (2, True)
    done = command("transcribe", SENTENCE, tmp_path / "LJ002-0020.mp3", "--to", tmp_path)
    assert (done.code, "same name" in done.stderr) == (2, True)
