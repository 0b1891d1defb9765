"""Sound stands within 5 ms of where ffmpeg puts it, in every container of the tests."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.containers import RATE, speech
from tests.paths import RECORDINGS, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg, as of Debian's package"),
]

FORMATS = sorted(path.name for path in (RECORDINGS / "formats").iterdir())

ENCODED = {
    "AAC in MP4, with an edit list": ("-c:a aac", "mp4"),
    "AAC in MP4, without": ("-c:a aac -use_editlist 0", "mp4"),
    "AAC in fragments of MP4": ("-c:a aac -movflags frag_keyframe+empty_moov", "mp4"),
    "AAC in MOV": ("-c:a aac", "mov"),
    "AAC in Matroska": ("-c:a aac", "mkv"),
    "AAC in MPEG-TS": ("-c:a aac", "ts"),
    "AAC in FLV": ("-c:a aac -ar 44100", "flv"),
    "AAC in ADTS": ("-c:a aac", "aac"),
    "Opus in Ogg, with pre-skip": ("-c:a libopus", "opus"),
    "Opus in WebM": ("-c:a libopus -ar 48000", "webm"),
    "Opus in MP4": ("-c:a libopus", "mp4"),
    "Opus in MPEG-TS": ("-c:a libopus", "ts"),
    "Vorbis in Ogg": ("-c:a libvorbis", "ogg"),
    "FLAC in Ogg": ("-c:a flac", "oga"),
    "MP3 with a LAME header": ("-c:a libmp3lame -ar 44100", "mp3"),
    "MP3 without": ("-c:a libmp3lame -ar 44100 -write_xing 0", "mp3"),
    "MP3 in AVI": ("-c:a libmp3lame", "avi"),
    "MP3 in MP4": ("-c:a libmp3lame -ar 44100", "mp4"),
    "MP3 in FLV": ("-c:a libmp3lame -ar 44100", "flv"),
    "MP2 in MPEG-PS": ("-c:a mp2 -ar 48000", "mpg"),
    "AC-3 in MPEG-TS": ("-c:a ac3 -ar 48000", "ts"),
    "AC-3 in AVI": ("-c:a ac3 -ar 48000", "avi"),
    "WMA": ("-c:a wmav2 -ar 44100", "wma"),
    "PCM in Matroska": ("-c:a pcm_s16le", "mkv"),
    "PCM in MOV": ("-c:a pcm_s16be", "mov"),
    "ALAC": ("-c:a alac", "m4a"),
    "WavPack": ("-c:a wavpack", "wv"),
    "TTA": ("-c:a tta", "tta"),
}


def by_ffmpeg(path: Path) -> np.ndarray:
    """The first audio stream as ffmpeg decodes it, mono at 16 kHz."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-af", "pan=mono|c0=c0"]
    run = subprocess.run([*command, "-ar", str(RATE), "-f", "f32le", "-"], capture_output=True, check=True)
    return np.frombuffer(run.stdout, np.float32)


def shift(ours: np.ndarray, theirs: np.ndarray) -> float:
    """By how many milliseconds our audio is later than theirs, by cross-correlation."""
    size = 1 << (len(ours) + len(theirs)).bit_length()
    products = np.fft.irfft(np.fft.rfft(ours, size) * np.conj(np.fft.rfft(theirs, size)), size)
    at = int(np.abs(products).argmax())
    likeness = abs(products[at]) / (np.linalg.norm(ours) * np.linalg.norm(theirs))
    assert likeness > 0.95
    return 1000 * (at - size * (at > size // 2)) / RATE


def compared(decode, path: Path) -> float:
    result, samples = decode(path)
    ours = samples[round(result.start_offset * RATE) :, 0]
    late = shift(ours, by_ffmpeg(path))
    print(f"{late:+.2f} ms, {len(ours) / RATE:.3f} s")
    return late


@pytest.mark.parametrize("name", FORMATS)
def test_the_recordings_of_the_tests(name, decode):
    if "6ch" in name or "left_only" in name or "5.1" in name:
        pytest.skip("another channel is chosen than ffmpeg's first")
    assert abs(compared(decode, RECORDINGS / "formats" / name)) < 5


@pytest.mark.parametrize("ending", ["m4a", "ts", "mkv"])
def test_he_aac(ending, decode, tmp_path):
    source = ROOT / "tests/fixtures/he_aac.aac"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", source, "-c", "copy", tmp_path / f"a.{ending}"], check=True
    )
    assert abs(compared(decode, tmp_path / f"a.{ending}")) < 5


@pytest.mark.parametrize("case", ENCODED)
def test_what_encoders_add_at_the_start_is_left_out_as_ffmpeg_does(case, decode, tmp_path):
    options, ending = ENCODED[case]
    sf.write(tmp_path / "a.wav", speech(8), RATE)
    path = tmp_path / f"b.{ending}"
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", *options.split(), path]
    subprocess.run(command, check=True, capture_output=True)
    assert abs(compared(decode, path)) < 5
