"""The spool is a cache: missing files are decoded again, abandoned and unused ones are deleted."""

import os
import time

import numpy as np
import pytest

from pipeline.inputs.listing import ListedRecording
from pipeline.inputs.spooled_audio import SpooledAudio, drop_spools
from stages.decode.config import DecodeConfig
from tests.conftest import DEMO

SPEECH = DEMO / "monologues" / "LJ002-0020.wav"


@pytest.fixture
def audio(tmp_path):
    return SpooledAudio(tmp_path, DecodeConfig(), "f")


@pytest.fixture
def recording():
    return ListedRecording("a.wav", SPEECH.as_uri(), SPEECH.stat().st_size, "tag", None, ()).recording("{}")


def test_a_spool_that_another_build_deleted_is_decoded_again(audio, recording):
    before = audio.read(recording, 0, 0.5, 1.5)
    audio.drop(recording)
    assert np.array_equal(audio.read(recording, 0, 0.5, 1.5), before)


def test_files_that_a_killed_process_wrote_in_part_are_deleted_after_a_day(audio, recording):
    audio.read(recording)
    spool = audio.spool(recording)
    left, fresh, copied = (
        spool.with_name(name) for name in ("old.flac.1-2.part", "new.flac.1-2.part", "aqaa-data-x")
    )
    left.touch()
    fresh.touch()
    copied.mkdir()
    (copied / "call.wav").touch()
    for path in (left, copied, spool):
        os.utime(path, (time.time() - 90_000,) * 2)
    audio.sweep()
    assert sorted(spool.parent.iterdir()) == sorted([spool, fresh])


def test_a_reader_deletes_at_its_end_what_it_decoded_and_leaves_the_spools_of_others(tmp_path, recording):
    build, other = (SpooledAudio(tmp_path, DecodeConfig(), name) for name in ("build", "other"))
    build.read(recording)
    spool = build.spool(recording)
    with SpooledAudio(tmp_path, DecodeConfig(), "build") as reader:
        reader.read(recording)
    assert spool.exists(), "a build that is running needs it"
    with other as reader:
        reader.read(recording, 0, 0.0, 1.0)
        assert other.spool(recording).exists()
    assert not other.spool(recording).exists()


def test_spools_that_nobody_has_read_for_a_week_are_swept_whatever_their_fingerprint(tmp_path, recording):
    old, used = (SpooledAudio(tmp_path, DecodeConfig(), name) for name in ("old", "used"))
    for audio in (old, used):
        audio.read(recording)
        os.utime(audio.spool(recording), (time.time() - 8 * 86_400,) * 2)
    used.read(recording, 0, 0.0, 0.1)
    SpooledAudio(tmp_path, DecodeConfig(), "another").sweep()
    assert not old.spool(recording).exists()
    assert used.spool(recording).exists()


def test_all_spools_of_a_forgotten_recording_are_deleted(tmp_path, audio, recording):
    other = SpooledAudio(tmp_path, DecodeConfig(), "other")
    for each in (audio, other):
        each.read(recording)
    assert drop_spools(tmp_path, [(recording.uri, "another tag")]) == 0
    assert drop_spools(tmp_path, [(recording.uri, recording.etag)]) == 2
    assert not audio.spool(recording).exists()
    assert not other.spool(recording).exists()
