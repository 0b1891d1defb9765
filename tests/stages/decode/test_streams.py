"""Of several audio streams, the one in which somebody speaks is taken, and the others are reported."""

import numpy as np
import pytest
import soundfile as sf

from tests.containers import encode, found_at, speech
from tests.paths import RECORDINGS

RATE = 48_000
TIME = np.arange(8 * RATE) / RATE
NOISE = np.random.default_rng(0).normal(0, 0.1, len(TIME)).astype(np.float32)
OTHERS = {
    "silence": np.zeros(len(TIME), np.float32),
    "a faint hum": (1e-4 * np.sin(2 * np.pi * 50 * TIME)).astype(np.float32),
    "a tone": (0.3 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32),
    "noise": NOISE,
    "beeps": (0.3 * np.sin(2 * np.pi * 440 * TIME) * (TIME % 2 < 0.5)).astype(np.float32),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("place", [0, 1])
def test_the_stream_that_speaks_is_taken(other, place, decode, tmp_path):
    signals = [OTHERS[other], OTHERS[other]]
    signals[place] = speech(8, RATE)
    path = encode(tmp_path / "a.mkv", signals, RATE, "libopus", "matroska")
    result, samples = decode(path)
    assert (result.stream, result.audio_streams) == (place, 2)
    assert found_at(samples[:, 0], speech(8)) == pytest.approx(0, abs=0.01)
    [note] = result.notes
    assert note.message == f"number {place + 1} of 2 audio streams is used; the others are left out"


@pytest.mark.parametrize(("codec", "form"), [("aac", "mp4"), ("aac", "mpegts"), ("libopus", "ogg")])
def test_it_is_taken_in_other_containers(codec, form, decode, tmp_path):
    path = encode(tmp_path / "a", [OTHERS["silence"], OTHERS["noise"], speech(8, RATE)], RATE, codec, form)
    result, samples = decode(path)
    assert (result.stream, result.audio_streams) == (2, 3)
    assert found_at(samples[:, 0], speech(8)) == pytest.approx(0, abs=0.06)


def test_of_two_that_speak_the_one_that_players_choose_is_taken(decode, tmp_path):
    other, _ = sf.read(RECORDINGS / "demo/monologues/1688-142285-0003.flac", dtype="float32")
    other = np.repeat(other, 3)
    path = encode(tmp_path / "a.mkv", [speech(5, RATE), other], RATE, "libopus", "matroska")
    assert decode(path)[0].stream == 0


def test_a_quiet_voice_beside_silence_is_heard(decode, tmp_path):
    path = encode(tmp_path / "a.mkv", [OTHERS["silence"], speech(8, RATE) / 300], RATE, "flac", "matroska")
    assert decode(path)[0].stream == 1
