"""The declared duration is compared with what is there, both ways."""

import struct

import pytest

from schemas.errors import DataError
from stages.decode import DecodeConfig, decode_file
from tests.containers import RATE, encode, pcm16, speech, wav


def with_mp3_frames(data: bytes, frames: int) -> bytes:
    """An MP3 file whose header declares a number of frames."""
    at = max(data.find(b"Xing"), data.find(b"Info"))
    return data[: at + 8] + struct.pack(">I", frames) + data[at + 12 :]


def with_flac_samples(data: bytes, samples: int) -> bytes:
    """A FLAC file whose header declares a number of samples."""
    return data[:22] + struct.pack(">I", samples) + data[26:]


def declaring(kind: str, seconds: int, folder):
    """Eight seconds of sound, all of them whole, with a header that declares others."""
    path = folder / f"{kind}.audio"
    if kind == "wav":
        path.write_bytes(wav(pcm16(speech(8)), size=2 * RATE * seconds))
    else:
        codec, rate = {"mp3": ("libmp3lame", 44_100), "flac": ("flac", RATE)}[kind]
        data = encode(path, [speech(8, rate)], rate, codec, kind).read_bytes()
        path.write_bytes(
            with_mp3_frames(data, seconds * rate // 1152)
            if kind == "mp3"
            else with_flac_samples(data, seconds * rate)
        )
    return path


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac"])
def test_sound_that_is_whole_is_kept_whatever_its_header_promises(kind, decode, tmp_path):
    result, _ = decode(declaring(kind, 780, tmp_path))
    assert result.seconds == pytest.approx(8.0, abs=0.05)
    assert result.declared_seconds == pytest.approx(780, rel=0.01)
    [note] = result.notes
    assert note.kind == "header"
    assert "the file contains 8.0 s, whole to its end" in note.message


@pytest.mark.parametrize("kind", ["mp3", "flac"])
def test_a_header_that_declares_less_is_noted(kind, decode, tmp_path):
    result, _ = decode(declaring(kind, 2, tmp_path))
    assert result.seconds == pytest.approx(8.0, abs=0.05)
    assert [note.kind for note in result.notes] == ["header"]
    assert result.declared_seconds == pytest.approx(2.0, abs=0.1)
    assert "the file contains 8.0 s: all of it is used" in result.notes[0].message


CUT = [
    ("libopus", "webm", 48_000),
    ("pcm_s16le", "matroska", RATE),
    ("libmp3lame", "mp3", 44_100),
    ("flac", "flac", RATE),
    ("pcm_s16le", "wav", RATE),
]


@pytest.mark.parametrize(("codec", "form", "rate"), CUT)
def test_a_file_of_which_little_is_left_is_set_aside_with_the_setting_that_keeps_it(
    codec, form, rate, tmp_path
):
    path = encode(tmp_path / "a", [speech(8, rate)], rate, codec, form)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.08) // 2 * 2 + 1])
    with pytest.raises(
        DataError, match=r"was cut off or damaged; a lower decode\.min_decoded_share"
    ) as caught:
        decode_file(path, tmp_path / "spool.flac", DecodeConfig())
    assert caught.value.code == "truncated"
    kept = decode_file(path, tmp_path / "spool.flac", DecodeConfig(min_decoded_share=0.01))
    assert [note.kind for note in kept.notes if note.kind == "truncated"]
