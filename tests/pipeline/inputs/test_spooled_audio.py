"""The spool is a cache: what is gone is decoded again, what was left half written goes."""

import os
import time

import numpy as np
import pytest

from pipeline.inputs.listing import ListedRecording
from pipeline.inputs.spooled_audio import SpooledAudio
from stages.decode.config import DecodeConfig
from tests.conftest import DEMO

SPEECH = DEMO / "monologues" / "LJ002-0020.wav"


@pytest.fixture
def audio(tmp_path):
    return SpooledAudio(tmp_path, DecodeConfig(), "f")


@pytest.fixture
def recording():
    return ListedRecording("a.wav", SPEECH.as_uri(), SPEECH.stat().st_size, "tag", None, ()).recording("{}")


def test_a_spool_that_another_build_dropped_is_decoded_again(audio, recording):
    before = audio.read(recording, 0, 0.5, 1.5)
    audio.drop(recording)
    assert np.array_equal(audio.read(recording, 0, 0.5, 1.5), before)


def test_what_a_killed_process_left_half_written_goes_after_a_day(audio, recording):
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
