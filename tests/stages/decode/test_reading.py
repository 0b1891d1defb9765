"""Sound stands at its time on the clock of its container, and all of it is read."""

import numpy as np
import pytest
import soundfile as sf
import soxr

from tests.containers import RATE, encode, found_at, halted, late, speech
from tests.paths import RECORDINGS

CLOCKED = [
    ("libopus", "matroska", 48_000),
    ("libopus", "webm", 48_000),
    ("pcm_s16le", "matroska", 16_000),
    ("flac", "matroska", 16_000),
    ("aac", "mp4", 44_100),
    ("alac", "mov", 44_100),
    ("aac", "flv", 44_100),
    ("libmp3lame", "flv", 44_100),
    ("aac", "mpegts", 44_100),
    ("mp2", "mpeg", 48_000),
    ("ac3", "avi", 48_000),
    ("libmp3lame", "avi", 44_100),
    ("libopus", "ogg", 48_000),
]


@pytest.mark.parametrize(("codec", "form", "rate"), CLOCKED)
def test_a_gap_is_silence_in_every_container_with_time_stamps(codec, form, rate, decode, tmp_path):
    path = encode(tmp_path / "a", [speech(8, rate)], rate, codec, form, halted(4.0, 70.0))
    result, samples = decode(path)
    assert result.seconds == pytest.approx(78.0, abs=0.1)
    assert result.gap_seconds == pytest.approx(70.0, abs=0.1)
    [gap] = [note for note in result.notes if note.kind == "gap"]
    # An Ogg page of a second has one time stamp, so that its gap may lie up to that much earlier.
    assert gap.start == pytest.approx(4.0, abs=1.0 if form == "ogg" else 0.1)
    assert found_at(samples[:, 0], speech()[: 2 * RATE]) == pytest.approx(0, abs=0.05)
    assert found_at(samples[:, 0], speech()[5 * RATE :]) == pytest.approx(75.0, abs=0.05)
    assert not samples[6 * RATE : 73 * RATE].any()


@pytest.mark.parametrize(("codec", "form", "rate"), [row for row in CLOCKED if row[1] not in ("avi", "mpeg")])
def test_a_late_start_is_silence(codec, form, rate, decode, tmp_path):
    path = encode(tmp_path / "a", [speech(4, rate)], rate, codec, form, late(4.0))
    result, samples = decode(path)
    assert result.start_offset == pytest.approx(4.0, abs=0.03)
    assert found_at(samples[:, 0], speech(4)) == pytest.approx(4.0, abs=0.005)
    assert result.gap_seconds == pytest.approx(0)
    assert not result.notes


def test_a_transport_stream_of_a_broadcast_starts_at_zero(decode, tmp_path):
    path = encode(tmp_path / "a", [speech(3, 44_100)], 44_100, "aac", "mpegts", late(20_000.0))
    result, samples = decode(path)
    assert result.clock_start == pytest.approx(20_000, abs=0.03)
    assert result.start_offset == 0
    assert found_at(samples[:, 0], speech(3)) == pytest.approx(0, abs=0.03)


def test_a_recording_that_is_mostly_muted_is_not_truncated(decode, tmp_path):
    path = encode(
        tmp_path / "a.webm", [speech(6, 48_000)], 48_000, "libopus", "webm", lambda t: t + 60 * int(t / 2)
    )
    result, samples = decode(path)
    assert result.seconds == pytest.approx(126, abs=0.1)
    assert {note.kind for note in result.notes} == {"gap"}
    assert found_at(samples[:, 0], speech()[4 * RATE + 800 : 6 * RATE]) == pytest.approx(124.05, abs=0.01)


def test_silence_in_gaps_changes_no_measure_of_the_sound(decode, tmp_path):
    stereo = np.stack([speech(8, 48_000), np.roll(speech(8, 48_000), 200_000)], axis=1)
    whole, gapped = (
        decode(encode(tmp_path / "a", [stereo], 48_000, "flac", "matroska", clock))[0]
        for clock in (late(0), halted(4.0, 600.0))
    )
    assert gapped.seconds == pytest.approx(whole.seconds + 600)
    for field in ("channel_mode", "tracks", "peak_dbfs", "dc_offset", "clipped_share"):
        assert getattr(gapped, field) == getattr(whole, field)
    assert gapped.loudness_lufs == pytest.approx(whole.loudness_lufs, abs=0.1)


def test_audio_that_starts_after_the_video_starts_late(decode, tmp_path):
    import av

    source = RECORDINGS / "formats/2414-128291-0005_video.mkv"
    with av.open(str(source)) as read, av.open(str(tmp_path / "a.mkv"), "w", format="matroska") as write:
        streams = {
            stream.index: write.add_stream_from_template(stream)
            for stream in (read.streams.audio[0], read.streams.video[0])
        }
        for packet in read.demux(*(read.streams[index] for index in streams)):
            if packet.dts is not None:
                if packet.stream.type == "audio":
                    shift = round(0.75 / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream.index]
                write.mux(packet)
    result, samples = decode(tmp_path / "a.mkv")
    assert result.start_offset == pytest.approx(0.75, abs=0.01)
    plain = decode(source)[1]
    assert found_at(samples[:, 0], plain[: 3 * RATE, 0]) == pytest.approx(0.75, abs=0.002)


def parts(first_rate, second_rate, channels):
    """Two readings at different rates; the one with two channels has the same sound on both."""
    sounds = speech(4), speech()[4 * RATE :]
    rates = first_rate, second_rate
    resampled = [soxr.resample(s, RATE, r).astype(np.float32) for s, r in zip(sounds, rates, strict=True)]
    return [s if n == 1 else np.stack([s, s], axis=1) for s, n in zip(resampled, channels, strict=True)]


JOINED = [
    ("libopus", "ogg", 48_000, 48_000, (1, 2)),
    ("flac", "ogg", 16_000, 48_000, (1, 2)),
    ("aac", "adts", 44_100, 22_050, (2, 1)),
    ("libmp3lame", "mp3", 44_100, 44_100, (2, 1)),
    ("libmp3lame", "mp3", 22_050, 44_100, (1, 2)),
    ("ac3", "ac3", 48_000, 48_000, (1, 2)),
    ("flac", "flac", 16_000, 44_100, (1, 2)),
    ("pcm_s16le", "matroska", 16_000, 8_000, (2, 1)),
    ("libopus", "webm", 48_000, 48_000, (1, 1)),
    ("aac", "mp4", 44_100, 22_050, (2, 1)),
    ("aac", "flv", 44_100, 22_050, (1, 2)),
    ("aac", "mpegts", 44_100, 22_050, (1, 2)),
    ("pcm_s16le", "wav", 16_000, 8_000, (1, 2)),
    ("pcm_s16be", "aiff", 16_000, 8_000, (1, 2)),
]


@pytest.mark.parametrize(("codec", "form", "first", "second", "channels"), JOINED)
def test_all_of_a_file_whose_format_changes_is_read(codec, form, first, second, channels, decode, tmp_path):
    signals = parts(first, second, channels)
    files = [
        encode(tmp_path / f"{n}", [signal], rate, codec, form)
        for n, (signal, rate) in enumerate(zip(signals, (first, second), strict=True))
    ]
    (tmp_path / "joined").write_bytes(b"".join(file.read_bytes() for file in files))
    result, samples = decode(tmp_path / "joined")
    assert (result.sample_rate, result.channels) == (first, channels[0])
    assert result.seconds == pytest.approx(8.0, abs=0.25)
    assert found_at(samples[:, 0], speech(3)) == pytest.approx(0, abs=0.1)
    assert found_at(samples[:, 0], speech()[5 * RATE : 7 * RATE]) == pytest.approx(5.0, abs=0.15)
    assert {note.kind for note in result.notes} & {"joined", "format", "clock"}
    level = [np.abs(samples[at * RATE : (at + 2) * RATE]).max() for at in (0, 5)]
    true = [np.abs(speech()[at * RATE : (at + 2) * RATE]).max() for at in (0, 5)]
    assert level == pytest.approx(true, rel=0.3)


def test_a_part_that_cannot_be_read_is_noted(decode, tmp_path):
    first, second = (encode(tmp_path / n, [speech(3, 48_000)], 48_000, "libopus", "ogg") for n in "ab")
    (tmp_path / "joined").write_bytes(first.read_bytes() + second.read_bytes()[:60])
    result, _ = decode(tmp_path / "joined")
    assert result.seconds == pytest.approx(3.0, abs=0.05)
    assert [note.kind for note in result.notes][:2] == ["joined", "damage"]


def test_a_tag_between_two_mp3_files_is_no_sound(decode, tmp_path):
    path = encode(tmp_path / "a.mp3", [speech(4, 44_100)], 44_100, "libmp3lame", "mp3")
    tag = b"TAG" + bytes(125) + b"ID3\x03\x00\x00\x00\x00\x07\x76" + bytes(1014)
    (tmp_path / "b.mp3").write_bytes(path.read_bytes() + tag + path.read_bytes())
    result, samples = decode(tmp_path / "b.mp3")
    assert result.seconds == pytest.approx(8.0, abs=0.15)
    assert found_at(samples[5 * RATE :, 0], speech(4)[RATE + 8000 :]) == pytest.approx(0.5, abs=0.15)


def test_both_readers_of_a_file_agree_on_its_clock(tmp_path):
    from stages.decode import DecodeConfig, decode_file
    from stages.decode.whole import read_whole

    path = encode(
        tmp_path / "a.mkv", [speech(6)], RATE, "flac", "matroska", lambda t: t + (2 if t < 3 else 7)
    )
    decode_file(path, tmp_path / "spool.flac", DecodeConfig())
    whole, rate = read_whole(path, DecodeConfig())
    assert rate == RATE
    spool, _ = sf.read(tmp_path / "spool.flac", dtype="float32")
    assert np.allclose(whole, spool, atol=1e-4)
    assert len(whole) == 13 * RATE
