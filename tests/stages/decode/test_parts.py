"""Headers that say something else than the file holds: all of the sound is read, with a note."""

import struct

import numpy as np
import pytest
import soundfile as sf

from stages.decode.parts import Part, parts_of
from tests.containers import RATE, extensible, found_at, pcm16, speech, wav, wav_format


def kinds(result):
    return [note.kind for note in result.notes]


def overwritten(data: bytes, name: bytes, skip: int, new: bytes) -> bytes:
    """A file with bytes replaced, `skip` after the start of a chunk's name."""
    at = data.index(name) + skip
    return data[:at] + new + data[at + len(new) :]


SIZES = {
    "w64": ("W64", b"data\xf3\xac", 16, struct.pack("<Q", 24 + 2 * RATE)),
    "rf64": ("RF64", b"ds64", 16, struct.pack("<Q", 2 * RATE)),
    "aiff": ("AIFF", b"SSND", 4, struct.pack(">I", 8 + 2 * RATE)),
    "caf": ("CAF", b"data", 4, struct.pack(">q", 4 + 2 * RATE)),
    "au": ("AU", b".snd", 8, struct.pack(">I", 2 * RATE)),
    "wav": ("WAV", b"data", 4, struct.pack("<I", 2 * RATE)),
}


def test_a_big_endian_wav_file_is_read_beyond_its_declared_size(decode, tmp_path):
    samples = np.frombuffer(pcm16(speech(8)), "<i2").astype(">i2").tobytes()
    form = b"fmt " + struct.pack(">IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    data = b"data" + struct.pack(">I", 2 * RATE) + samples
    (tmp_path / "a").write_bytes(b"RIFX" + struct.pack(">I", len(data) + 28) + b"WAVE" + form + data)
    assert np.allclose(decode(tmp_path / "a")[1][:, 0], speech(8), atol=1e-4)


@pytest.mark.parametrize("kind", SIZES)
def test_data_beyond_its_declared_size_is_read(kind, decode, tmp_path):
    form, name, skip, new = SIZES[kind]
    sf.write(tmp_path / "a", speech(8), RATE, format=form, subtype="PCM_16")
    (tmp_path / "b").write_bytes(overwritten((tmp_path / "a").read_bytes(), name, skip, new))
    result, samples = decode(tmp_path / "b")
    assert result.seconds == pytest.approx(8.0)
    assert result.declared_seconds == pytest.approx(1.0, abs=0.001)
    assert np.array_equal(samples, decode(tmp_path / "a")[1])
    assert result.notes[0].message == (
        "the header declares 1.0 s, the file contains 8.0 s: all of it is used"
    )


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_placeholder_of_a_size_declares_nothing(size, decode, tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(pcm16(speech(4)), size))
    result, _ = decode(tmp_path / "a.wav")
    assert (result.seconds, result.declared_seconds, result.notes) == (pytest.approx(4), None, ())


UNFINISHED = {
    "w64": struct.pack("<Q", 24),
    "w64 -1": struct.pack("<q", -1),
    "rf64": struct.pack("<Q", 0),
    "rf64 -1": struct.pack("<q", -1),
    "aiff": struct.pack(">I", 0),
    "caf": struct.pack(">q", -1),
    "au": struct.pack(">I", 0),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_a_recorder_that_never_wrote_the_size_loses_nothing(case, decode, tmp_path):
    form, name, skip, _ = SIZES[case.split()[0]]
    sf.write(tmp_path / "a", speech(4), RATE, format=form, subtype="PCM_16")
    (tmp_path / "b").write_bytes(overwritten((tmp_path / "a").read_bytes(), name, skip, UNFINISHED[case]))
    result, samples = decode(tmp_path / "b")
    assert (result.declared_seconds, result.notes) == (None, ())
    assert np.array_equal(samples, decode(tmp_path / "a")[1])


def mp3(path, samples: np.ndarray, rate: int) -> bytes:
    """An MP3 file without a tag, whose first frame says how many there are."""
    sf.write(path, samples, rate, format="MP3", subtype="MPEG_LAYER_III")
    return path.read_bytes()


def id3(size: int) -> bytes:
    """A tag with a picture, in which there are bytes that look like frames."""
    picture = np.random.default_rng(0).bytes(size)
    return b"ID3\x03\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + picture


@pytest.mark.parametrize("tag", [b"", id3(100), id3(200_000)], ids=["no tag", "short tag", "picture"])
def test_joined_mp3_files_are_read_without_tags_and_what_the_encoder_added(tag, decode, tmp_path):
    first = mp3(tmp_path / "1", speech(4, 48_000), 48_000)
    second = mp3(tmp_path / "2", speech()[4 * RATE :], RATE)
    (tmp_path / "a.mp3").write_bytes(tag + first + tag + second + tag)
    result, samples = decode(tmp_path / "a.mp3")
    assert kinds(result) == ["joined", "format"]
    assert (result.seconds, result.declared_seconds) == (pytest.approx(8), pytest.approx(8))
    assert found_at(samples[:, 0], speech()[RATE : 3 * RATE]) == pytest.approx(1, abs=0.001)
    assert found_at(samples[:, 0], speech()[5 * RATE : 7 * RATE]) == pytest.approx(5, abs=0.001)


def test_chunks_after_the_data_are_no_sound(decode, tmp_path):
    listed = b"LIST" + struct.pack("<I", 4000) + b"INFO" + b"a" * 3996
    (tmp_path / "a.wav").write_bytes(
        wav(pcm16(speech(4)), after=listed + b"id3 " + struct.pack("<I", 2) + b"xx")
    )
    result, _ = decode(tmp_path / "a.wav")
    assert (result.seconds, result.notes) == (pytest.approx(4), ())


def test_joined_files_are_read_to_the_end(decode, tmp_path):
    halves = [pcm16(speech()[: 4 * RATE]), pcm16(speech()[4 * RATE :])]
    for sizes in ((None, None), (0xFFFFFFFF, None), (2 * RATE, 2 * RATE)):
        joined = b"".join(wav(half, size) for half, size in zip(halves, sizes, strict=True))
        (tmp_path / "a.wav").write_bytes(joined)
        result, samples = decode(tmp_path / "a.wav")
        assert result.seconds == pytest.approx(8.0)
        assert np.allclose(samples[:, 0], speech(8), atol=1e-4)
        assert [note.start for note in result.notes if note.kind == "joined"] == [4.0]


def test_a_wrong_byte_rate_changes_nothing(decode, tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(pcm16(speech(8)), form=wav_format(byte_rate=1000)))
    result, _ = decode(tmp_path / "a.wav")
    assert (result.seconds, result.declared_seconds) == (pytest.approx(8), pytest.approx(8))
    assert kinds(result) == ["header"]


@pytest.mark.parametrize("block", [0, 1])
def test_a_wrong_block_size_changes_nothing(block, decode, tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(pcm16(speech(8)), form=wav_format(byte_rate=32_000, block=block)))
    result, _ = decode(tmp_path / "a.wav")
    assert (result.seconds, result.declared_seconds) == (pytest.approx(8), pytest.approx(8))


@pytest.mark.parametrize(("bits", "valid"), [(32, 24), (32, 20), (32, 16), (24, 20), (16, 12)])
def test_samples_of_which_some_bits_are_valid_are_numbers(bits, valid, decode, tmp_path):
    integers = np.rint(speech(8).astype(np.float64) * (2 ** (valid - 1) - 1)).astype("<i4") << (32 - valid)
    data = integers.view(np.uint8).reshape(-1, 4)[:, 4 - bits // 8 :].tobytes()
    (tmp_path / "a.wav").write_bytes(wav(data, form=extensible(bits, valid)))
    result, samples = decode(tmp_path / "a.wav")
    assert result.seconds == pytest.approx(8)
    assert np.allclose(samples[:, 0], speech(8), atol=2.0**-11)


def test_24_bits_in_32_without_an_extended_header_are_numbers(decode, tmp_path):
    integers = np.rint(speech(8).astype(np.float64) * (2**23 - 1)).astype("<i4") << 8
    (tmp_path / "a.wav").write_bytes(wav(integers.tobytes(), form=wav_format(bits=24, block=4)))
    assert np.allclose(decode(tmp_path / "a.wav")[1][:, 0], speech(8), atol=1e-4)


def test_an_ordinary_file_is_one_part(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(pcm16(speech(1))))
    assert parts_of(tmp_path / "a.wav") == [Part(0, 2 * RATE + 44)]
    (tmp_path / "a.wav").write_bytes(b"")
    assert parts_of(tmp_path / "a.wav") == [Part(0, 0)]


def test_later_sound_of_an_understated_file_is_heard_at_its_time(decode, tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(pcm16(speech(8)), 2 * RATE))
    assert found_at(decode(tmp_path / "a.wav")[1][:, 0], speech()[5 * RATE :]) == pytest.approx(5.0)
