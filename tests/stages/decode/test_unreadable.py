"""A message says what a file appears to be that can't be decoded."""

import shlex
import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf

from schemas.errors import DataError
from stages.decode import DecodeConfig, decode_file
from stages.decode.unreadable import what_else
from tests.containers import pcm16, speech, wav, wav_format

CODES = {"mulaw": ("ULAW", ".ul"), "alaw": ("ALAW", ".al"), "s16le": ("PCM_16", ".raw")}


def headerless(folder, form: str, name: str):
    """A recording of a telephone call without a header."""
    subtype, _ = CODES[form]
    path = folder / name
    sf.write(path, speech(5, 8000), 8000, format="RAW", subtype=subtype)
    return path


@pytest.mark.parametrize("form", CODES)
def test_headerless_audio_gets_a_command_that_gives_it_a_header(form, tmp_path):
    for name in (f"call{CODES[form][1]}", "call 1", "call.wav.bin", "call.wav"):
        message = what_else(headerless(tmp_path, form, name))
        assert "perhaps headerless telephone audio; give it a container, e.g. `ffmpeg" in message
        assert f" -f {form} -ar 8000 " in message
        *_, read, written = shlex.split(message.split("`")[1])
        assert (read, written != name) == (name, True)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
@pytest.mark.parametrize("form", CODES)
def test_the_command_works(form, decode, tmp_path):
    message = what_else(headerless(tmp_path, form, "a call.bin"))
    command = message.split("`")[1]
    subprocess.run(shlex.split(command), cwd=tmp_path, check=True, capture_output=True)
    assert decode(tmp_path / "a call.wav")[0].seconds == pytest.approx(5.0)


def test_random_bytes_are_not_taken_for_a_call(tmp_path):
    (tmp_path / "a.bin").write_bytes(np.random.default_rng(0).bytes(100_000))
    assert what_else(tmp_path / "a.bin").endswith("the file is damaged or not audio")


def test_a_file_with_a_damaged_header_is_not_taken_for_a_call(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(pcm16(speech(4)), form=wav_format(rate=0)))
    with pytest.raises(DataError, match="it is a file of type WAV whose header is damaged"):
        decode_file(tmp_path / "a.wav", tmp_path / "spool.flac", DecodeConfig())
