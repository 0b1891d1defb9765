"""Recordings of any format become checked 16 kHz audio, or are set aside with a reason."""

import json
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import DataError
from schemas.recording import Recording, Unit
from stages.decode import DecodeConfig, DecodeStage, decode_file
from stages.decode.channels import choose
from stages.decode.survey import Survey
from tests.paths import RECORDINGS

DEMO, FORMATS, BAD = RECORDINGS / "demo", RECORDINGS / "formats", RECORDINGS / "bad"
CALL = DEMO / "conversations/call_autorepair.m4a"
FORMAT_ROWS = [json.loads(line) for line in (RECORDINGS / "reference/formats.jsonl").open(encoding="utf-8")]


def messages(result) -> list[str]:
    return [note.message for note in result.notes]


def refused(path, tmp_path, **config) -> DataError:
    with pytest.raises(DataError) as caught:
        decode_file(path, tmp_path / "spool/audio.flac", DecodeConfig(**config))
    assert not list(tmp_path.glob("spool/*"))
    return caught.value


def voice(name: str, seconds: float) -> np.ndarray:
    """The start of a demo monologue at 16 kHz, padded with silence."""
    samples, rate = sf.read(DEMO / "monologues" / name, dtype="float32")
    assert rate == 16_000
    return np.resize(np.append(samples, np.zeros(rate * 60, np.float32)), round(rate * seconds))


def envelope(samples: np.ndarray) -> np.ndarray:
    """Level of every 50 ms in dB."""
    frames = samples[: len(samples) // 800 * 800].reshape(-1, 800)
    return 20 * np.log10(frames.std(axis=1) + 1e-3)


class TestFormats:
    @pytest.mark.parametrize("row", FORMAT_ROWS, ids=lambda row: row["path"][8:])
    def test_every_container_gives_the_same_speech(self, row, decode):
        result, samples = decode(RECORDINGS / row["path"])
        assert result.seconds == pytest.approx(row["seconds"], abs=max(0.06, 0.02 * row["seconds"]))
        assert result.tracks == 1
        assert result.notes == ()
        if "az_weather" not in row["path"]:
            _, source = decode(FORMATS / "2414-128291-0005.ogg")
            n = min(len(source), len(samples))
            assert np.corrcoef(envelope(source[:n, 0]), envelope(samples[:n, 0]))[0, 1] > 0.85

    def test_samples_at_16_khz_and_16_bit_are_unchanged(self, decode):
        path = DEMO / "monologues/BAC009S0764W0121.wav"
        _, samples = decode(path)
        assert np.array_equal(samples[:, 0], sf.read(path, dtype="float32")[0])

    def test_the_format_is_detected_from_the_content_not_the_name(self, decode, tmp_path):
        for wrong in ("a.wav", "a.mp3", "a.txt", "a"):
            path = tmp_path / wrong
            path.write_bytes((FORMATS / "2414-128291-0005.webm").read_bytes())
            assert decode(path)[0].codec == "opus"

    @settings(max_examples=25, deadline=None)
    @given(
        rate=st.sampled_from([4000, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000]),
        milliseconds=st.integers(110, 3000),
        channels=st.integers(1, 4),
    )
    def test_the_duration_is_preserved(self, tmp_path_factory, rate, milliseconds, channels):
        folder = tmp_path_factory.mktemp("rate")
        length = rate * milliseconds // 1000
        speech = np.resize(voice("1998-15444-0004.flac", 8), (length, 1)) * np.linspace(0.5, 1, channels)
        sf.write(folder / "in.wav", speech, rate)
        result = decode_file(folder / "in.wav", folder / "out.flac", DecodeConfig())
        assert result.seconds == pytest.approx(length / rate, abs=2 / 16_000)
        assert result.declared_seconds == pytest.approx(length / rate)

    def test_decoding_twice_gives_the_same_bytes(self, tmp_path):
        spools = [tmp_path / "a.flac", tmp_path / "b.flac"]
        notes = [decode_file(DEMO / "monologues/sonnet001_en.mp3", spool, DecodeConfig()) for spool in spools]
        assert notes[0] == notes[1]
        assert spools[0].read_bytes() == spools[1].read_bytes()


REASONS = {
    "header_only.wav": ("no_samples", "contains no samples"),
    "html_error.flac": ("unreadable", "HTML page"),
    "no_moov.m4a": ("unreadable", "index (moov)"),
    "one_sample.wav": ("too_short", "0.000 s"),
    "random.wav": ("unreadable", "no known audio format"),
    "short_30ms.wav": ("too_short", "0.030 s"),
    "text.mp3": ("unreadable", "text file"),
    "video_no_audio.mp4": ("no_audio", "only video"),
    "zero_bytes.wav": ("unreadable", "empty"),
}

REPAIRS = {
    "bitrot.flac": (3.03, "s without audio are silence"),
    "data_size_zero.wav": (3.03, ""),
    "float_over_range.wav": (3.03, ""),
    "garbage_then.mp3": (10.7, ""),
    "mp3_named.wav": (10.65, ""),
    "nan_inf_float.wav": (3.03, "0.21% of the samples"),
    "odd_byte.wav": (3.03, ""),
    "rate_4k.wav": (3.03, ""),
    "streaming_size.wav": (3.03, ""),
    "truncated.flac": (0.77, "the header declares 3.0 s, the file contains 0.8 s: it was cut off"),
    "truncated.mp3": (5.3, "the header declares 10.7 s, the file contains 5.3 s: it was cut off"),
    "truncated_half.wav": (1.51, "the header declares 3.0 s, the file contains 1.5 s"),
    "wav_no_extension": (3.03, ""),
}


class TestBrokenFiles:
    def test_the_tables_cover_every_broken_file(self):
        assert REASONS.keys() | REPAIRS.keys() == {path.name for path in BAD.iterdir()}

    @pytest.mark.parametrize("name", REASONS)
    def test_unusable_files_are_set_aside_with_a_reason(self, name, tmp_path):
        code, words = REASONS[name]
        error = refused(BAD / name, tmp_path)
        assert error.code == code
        assert words in error.message

    @pytest.mark.parametrize("name", REPAIRS)
    def test_the_intact_part_of_damaged_files_is_kept_and_the_damage_recorded(self, name, decode):
        seconds, words = REPAIRS[name]
        result, samples = decode(BAD / name)
        assert result.seconds == pytest.approx(seconds, abs=0.06)
        assert np.isfinite(samples).all()
        assert words in "; ".join(messages(result))
        assert bool(result.notes) == bool(words)

    def test_audio_after_damage_keeps_its_position(self, decode):
        _, damaged = decode(BAD / "bitrot.flac")
        _, whole = decode(BAD / "wav_no_extension")
        same = damaged[:, 0] == whole[:, 0]
        assert same[:8000].all()
        assert same[-8000:].all()
        assert not damaged[~same].any()

    @pytest.mark.parametrize(
        "name",
        ["_be.au", "_u8.wav", "_64k.mp3", "_44k1_stereo.mp3", "_cover_art.mp3", "_video.mkv", ".webm"],
    )
    def test_a_truncated_file_is_detected(self, name, decode, tmp_path):
        whole = FORMATS / f"2414-128291-0005{name}"
        cut = tmp_path / "cut"
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
        result, _ = decode(cut)
        assert 0.5 < result.seconds / decode(whole)[0].seconds < 0.7
        assert "the header declares" in messages(result)[-1]

    @pytest.mark.parametrize("name", ["2414-128291-0005.ogg", "2414-128291-0005_48k.opus"])
    def test_a_truncated_ogg_file_lacks_its_end_mark(self, name, decode, tmp_path):
        cut = tmp_path / "cut.ogg"
        cut.write_bytes((FORMATS / name).read_bytes()[:20_000])
        assert messages(decode(cut)[0]) == ["the Ogg stream has no end mark, it may have been cut off"]

    def test_a_recording_of_which_little_is_left_is_set_aside(self, tmp_path):
        sf.write(tmp_path / "a.wav", voice("1998-15444-0004.flac", 60), 16_000)
        (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:96_001])
        error = refused(tmp_path / "cut.wav", tmp_path)
        assert (error.code, error.message) == (
            "truncated",
            "the header declares 60.0 s, the file contains 3.0 s and was cut off or damaged; a lower "
            "decode.min_decoded_share than 0.1 keeps it",
        )

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_random_damage_at_most_sets_the_recording_aside(self, tmp_path_factory, data):
        names = ["_64k.mp3", ".m4a", ".ogg", ".webm", ".wma", "_8k.amr", "_alac.m4a", "_48k.opus", ".caf"]
        source = FORMATS / f"2414-128291-0005{data.draw(st.sampled_from(names))}"
        content = bytearray(source.read_bytes())
        for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=200)):
            content[at] ^= data.draw(st.integers(1, 255))
        folder = tmp_path_factory.mktemp("damage")
        (folder / "in").write_bytes(content)
        try:
            result = decode_file(folder / "in", folder / "out.flac", DecodeConfig())
        except DataError:
            assert not (folder / "out.flac").exists()
        else:
            assert sf.info(folder / "out.flac").frames == round(result.seconds * 16_000)
            assert result.peak_dbfs <= 20 * np.log10(4)


class TestSamples:
    def test_silence_and_a_constant_offset_are_set_aside(self, tmp_path):
        sf.write(tmp_path / "a.wav", np.zeros(160_000), 16_000)
        assert refused(tmp_path / "a.wav", tmp_path).code == "silent"
        sf.write(tmp_path / "a.wav", np.full(160_000, 0.5), 16_000)
        assert refused(tmp_path / "a.wav", tmp_path).code == "dc_only"

    def test_a_very_quiet_voice_is_kept(self, decode, tmp_path):
        sf.write(tmp_path / "a.flac", voice("1998-15444-0004.flac", 8) / 300, 16_000)
        assert -72 < decode(tmp_path / "a.flac")[0].loudness_lufs < -68

    def test_float_samples_over_full_scale_are_attenuated_without_clipping(self, decode, tmp_path):
        speech = voice("1998-15444-0004.flac", 8)
        sf.write(tmp_path / "a.wav", speech * 20, 16_000, subtype="FLOAT")
        result, samples = decode(tmp_path / "a.wav")
        assert result.gain_db == pytest.approx(-result.peak_dbfs)
        assert np.allclose(samples[:, 0], speech / np.abs(speech).max(), atol=1e-4)

    def test_a_few_invalid_samples_are_silenced(self, decode, tmp_path):
        speech = voice("1998-15444-0004.flac", 8)
        speech[1000:1010] = [np.nan, np.inf, -np.inf, 1e30, -1e9] * 2
        sf.write(tmp_path / "a.wav", speech, 16_000, subtype="FLOAT")
        result, samples = decode(tmp_path / "a.wav")
        assert not samples[1000:1010].any()
        assert result.gain_db == 0
        assert messages(result) == [
            "0.01% of the samples are not finite or far beyond full scale and were silenced"
        ]

    def test_a_recording_with_many_invalid_samples_is_set_aside(self, tmp_path):
        speech = voice("1998-15444-0004.flac", 8)
        speech[::20] = np.nan
        sf.write(tmp_path / "a.wav", speech, 16_000, subtype="FLOAT")
        error = refused(tmp_path / "a.wav", tmp_path)
        assert (error.code, error.message[:5]) == ("damaged_samples", "5.00%")

    def test_loudness_agrees_with_ffmpeg(self, decode, tmp_path):
        for path in (DEMO / "conversations/ami_trn05.flac", CALL, DEMO / "monologues/sonnet001_en.mp3"):
            result, _ = decode(path)
            assert result.loudness_lufs == pytest.approx(ebur128(tmp_path / "spool/audio.flac"), abs=0.1)

    def test_offset_and_clipping_are_measured(self, decode, tmp_path):
        speech = voice("1998-15444-0004.flac", 8)
        speech = np.clip(speech * 20, -0.9, 0.9) + 0.1
        sf.write(tmp_path / "a.wav", speech, 16_000)
        result, _ = decode(tmp_path / "a.wav")
        assert result.dc_offset == pytest.approx(speech.mean(), abs=1e-3)
        assert result.clipped_share == pytest.approx((speech >= 0.98).mean(), abs=1e-4)


def ebur128(path: Path) -> float:
    """Integrated loudness by FFmpeg's filter."""
    with av.open(str(path)) as container:
        graph = av.filter.Graph()
        source = graph.add_abuffer(template=container.streams.audio[0])
        meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
        source.link_to(meter)
        meter.link_to(sink)
        graph.configure()
        loudness = "nan"
        for frame in container.decode(audio=0):
            graph.push(frame)
            while True:
                try:
                    loudness = graph.pull().metadata.get("lavfi.r128.I", loudness)
                except av.error.BlockingIOError:
                    break
        return float(loudness)


class TestChannels:
    def test_a_call_with_one_speaker_per_channel_is_split(self, decode):
        result, _ = decode(CALL)
        assert (result.channel_mode, result.tracks, result.channels) == ("split", 2, 2)

    def test_the_policy_can_be_forced(self, decode):
        assert decode(CALL, channels="mix")[0].tracks == 1
        assert decode(FORMATS / "2414-128291-0005_44k1_stereo.mp3", channels="split")[0].tracks == 2

    @pytest.mark.parametrize(
        "name",
        [
            "2414-128291-0005_antiphase.wav",
            "2414-128291-0005_left_only.wav",
            "2414-128291-0005_6ch_centre.wav",
        ],
    )
    def test_the_only_channel_with_a_voice_is_used_alone(self, name, decode):
        result, _ = decode(FORMATS / name)
        assert result.channel_mode == "one"
        assert result.loudness_lufs == pytest.approx(
            decode(FORMATS / "2414-128291-0005.caf")[0].loudness_lufs, abs=1
        )

    @pytest.mark.parametrize(
        "path",
        [DEMO / "monologues/sonnet001_en.mp3", FORMATS / "2414-128291-0005_44k1_stereo.mp3"],
        ids=lambda path: path.name,
    )
    def test_mono_stored_as_stereo_becomes_one_channel(self, path, decode):
        result, _ = decode(path)
        assert (result.channels, result.channel_mode) == (2, "one")

    def test_two_people_who_speak_at_once_on_two_channels_are_split(self):
        a, b = voice("1688-142285-0003.flac", 5), voice("1998-15444-0004.flac", 5)
        assert chosen(a, b) == ("split", (0, 1))

    def test_a_call_with_echo_of_the_other_party_is_split(self):
        a, b = conversation()
        echo = 10 ** (-25 / 20)
        assert chosen(a + echo * np.roll(b, 1600), b + echo * np.roll(a, 1600)) == ("split", (0, 1))

    def test_a_room_in_stereo_is_mixed(self):
        a, b = conversation()
        assert chosen(a + 0.4 * np.roll(b, 9), b + 0.4 * np.roll(a, 9)) == ("mix", (0, 1))

    def test_a_party_that_never_speaks_is_left_out(self):
        a, _ = conversation()
        noise = np.random.default_rng(0).normal(0, 1e-4, len(a)).astype(np.float32)
        assert chosen(noise, a + noise) == ("one", (1,))

    def test_the_centre_channel_of_a_film_is_used_alone(self):
        speech = voice("1998-15444-0004.flac", 8)
        noise = np.random.default_rng(0).normal(0, 0.02, (6, len(speech))).astype(np.float32)
        noise[2] += speech
        names = ("FL", "FR", "FC", "LFE", "BL", "BR")
        assert chosen(*noise, names=names) == ("one", (2,))
        assert chosen(*noise, names=names, policy="mix") == ("mix", (0, 1, 2, 4, 5))


def conversation() -> tuple[np.ndarray, np.ndarray]:
    """Two voices that take turns, one per channel."""
    a, b = voice("1688-142285-0003.flac", 14), voice("1998-15444-0004.flac", 14)
    return a, np.roll(b, 16_000 * 5)


def chosen(*channels, names=(), policy="auto"):
    survey = Survey(16_000, len(channels))
    for block in np.array_split(np.stack(channels, axis=1).astype(np.float32), 7):
        survey.add(block)
    tracks = choose(survey, names, policy)
    return tracks.mode, tracks.channels


class TestHostileFiles:
    def test_a_decompression_bomb_is_refused(self, tmp_path):
        with sf.SoundFile(tmp_path / "a.flac", "w", 1000, 1, format="FLAC") as file:
            for _ in range(20):
                file.write(np.zeros(1_000_000, np.int16))
        error = refused(tmp_path / "a.flac", tmp_path)
        assert error.code == "implausible"

    def test_a_playlist_does_not_open_other_files(self, tmp_path):
        other = FORMATS / "2414-128291-0005.m4a"
        for text in (f"#EXTM3U\n#EXTINF:3,\n{other}\n", f"ffconcat version 1.0\nfile '{other}'\n"):
            (tmp_path / "a.wav").write_text(text)
            assert refused(tmp_path / "a.wav", tmp_path).message == "it is a text file, not audio"


class LocalFiles:
    """An AudioSource over files on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, recording):
        return nullcontext(Path(recording.uri))

    def spool(self, recording):
        return self.folder / f"{recording.id}.flac"


class TestStage:
    def test_every_recording_of_a_unit_is_decoded_or_has_a_problem(self, tmp_path):
        paths = [DEMO / "monologues/librivox_ss_0870.mp3", BAD / "html_error.flac", CALL]
        unit = Unit("u", tuple(Recording(p.name, str(p), p.stat().st_size, "", "{}") for p in paths))
        stage = DecodeStage(DecodeConfig(), LocalFiles(tmp_path), {}, threads=2)
        stage.setup()
        done = stage(unit)
        monologue, html, call = done.recordings
        assert monologue.decode.result.seconds == pytest.approx(7.1, abs=0.06)
        assert call.decode.result.tracks == 2
        assert html.set_aside
        assert html.decode.problems[0].code == "unreadable"
        assert [replace(r, decode=None) for r in done.recordings] == list(unit.recordings)
        assert DecodeStage(DecodeConfig(), LocalFiles(tmp_path / "again"), {})(unit) == done

    def test_a_full_disk_is_a_setup_error(self, tmp_path):
        script = f"""
import resource, signal
from pathlib import Path
from schemas.errors import SetupError
from stages.decode import DecodeConfig, decode_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    decode_file(Path({str(CALL)!r}), Path({str(tmp_path)!r}) / "spool.flac", DecodeConfig())
except SetupError as error:
    print(error)
"""
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert f"can't write decoded audio to {tmp_path}" in run.stdout
        assert not list(tmp_path.iterdir())

    @pytest.mark.slow
    def test_memory_does_not_grow_with_the_length(self, tmp_path):
        samples, rate = sf.read(DEMO / "conversations/az_katiesteve.flac", dtype="int16")
        stereo = np.stack([samples, np.roll(samples, rate)], axis=1)

        def peak(minutes: int) -> int:
            path = tmp_path / f"{minutes}.flac"
            with sf.SoundFile(path, "w", 22_050, 2, format="FLAC") as file:
                for _ in range(round(minutes * 60 * 22_050 / len(stereo))):
                    file.write(stereo)
            script = f"""
import resource
from pathlib import Path
from stages.decode import DecodeConfig, decode_file
from tests.paths import RECORDINGS
result = decode_file(Path({str(path)!r}), Path({str(tmp_path)!r}) / "spool.flac", DecodeConfig())
assert abs(result.seconds / {minutes * 60} - 1) < 0.05
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
            run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            return int(run.stdout)

        assert peak(120) < peak(10) + 16 * 1024  # KiB
