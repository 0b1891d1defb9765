"""Songs keep their vocals: separators of several shapes, and the messages for those that don't work.

No separator with a clear licence is in a package registry, so these are made here: filters of one band.
"""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import TensorProto, helper

from pipeline.inputs.spooled_audio import SpooledAudio
from schemas.errors import DataError, SetupError
from schemas.recording import Companion, Recording, Unit
from stages.decode import DecodeConfig, DecodeStage
from stages.decode.separator import Separator, SeparatorConfig, is_accompanied
from stages.decode.spool import write_spool

RATE = 16_000
TIME = np.arange(12 * RATE) / RATE
VOICE, BASS = (0.2 * np.sin(2 * np.pi * hz * TIME).astype(np.float32) for hz in (700, 20))


class HighPass(torch.nn.Module):
    """What is above the mean of 10 ms, on both channels."""

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        low = torch.nn.functional.avg_pool1d(sound, 441, stride=1, padding=220, count_include_pad=False)
        return sound - low


class TwoSources(torch.nn.Module):
    """Accompaniment, then vocals."""

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        low = torch.nn.functional.avg_pool1d(sound, 441, stride=1, padding=220, count_include_pad=False)
        return torch.stack([low, sound - low], dim=1)


class Times(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        return sound * self.factor


def scripted(folder, module):
    torch.jit.script(module).save(folder / "model.pt")
    return folder / "model.pt"


def traced(folder, module, seconds=8.0):
    torch.jit.trace(module, torch.randn(1, 2, round(seconds * 44_100))).save(folder / "model.pt")
    return folder


def as_onnx(folder, factor):
    """An ONNX model with one channel that multiplies by a factor."""
    shape = [1, 1, "n"]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["mix", "factor"], ["vocals"])],
        "separator",
        [helper.make_tensor_value_info("mix", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("vocals", TensorProto.FLOAT, shape)],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    return folder


def separated(folder, model, samples, **config):
    song, spool = folder / "song.flac", folder / "vocals.flac"
    write_spool([samples[:, None]], song, 1)
    separator = Separator(model, SeparatorConfig(model=f"file:{model}", **config))
    assert separator.write_vocals(song, spool, -80.0) == len(samples)
    return soundfile.read(spool, dtype="float32")[0]


def level(samples, of):
    """Amplitude of one sine in samples, relative to the sine."""
    return float(np.dot(samples, of[: len(samples)]) / np.dot(of[: len(samples)], of[: len(samples)]))


@pytest.mark.parametrize(
    ("made", "config"),
    [
        (lambda folder: scripted(folder, HighPass()), {}),
        (lambda folder: traced(folder, HighPass()), {}),
        (lambda folder: scripted(folder, TwoSources()), {"source": 1, "seconds": 3.0}),
    ],
)
def test_the_vocals_are_kept_and_the_accompaniment_is_gone(tmp_path, made, config):
    vocals = separated(tmp_path, made(tmp_path), VOICE + BASS, **config)
    inside = slice(RATE, -RATE)
    assert level(vocals[inside], VOICE[inside]) == pytest.approx(1, abs=0.1)
    assert abs(level(vocals[inside], BASS[inside])) < 0.3


@pytest.mark.parametrize("seconds", [0.1, 1.0, 2.7, 3.0, 12.0, 50.0])
def test_pieces_are_joined_without_a_trace(tmp_path, seconds):
    samples = np.resize(VOICE + BASS, round(seconds * RATE))
    model = as_onnx(tmp_path, 0.5)
    kept = separated(tmp_path, model, samples, channels=1, sample_rate=RATE, seconds=2.0)
    assert np.abs(kept - samples / 2).max() < 1e-4


def test_silence_is_told_with_place_and_remedy(tmp_path):
    with pytest.raises(
        DataError, match=r"returns silence for this song.*`decode.separator.source`"
    ) as caught:
        separated(tmp_path, scripted(tmp_path, Times(0.0)), VOICE)
    assert caught.value.code == "no_vocals"
    assert not (tmp_path / "vocals.flac").exists()


@pytest.mark.parametrize(
    ("module", "config", "message"),
    [
        (TwoSources(), {}, r"returns \[2, 2, 352800\] for \[2, 352800\]: `source` \(None\) chooses"),
        (TwoSources(), {"source": 2}, r"`source` \(2\)"),
        (Times(float("nan")), {}, "values that are no numbers"),
    ],
)
def test_other_shapes_are_told_with_the_settings(tmp_path, module, config, message):
    with pytest.raises(SetupError, match=message):
        separated(tmp_path, scripted(tmp_path, module), VOICE, **config)


@pytest.mark.parametrize("names", [(), ("a.pt", "b.onnx"), ("a.txt",), ("a.pt",)])
def test_a_folder_without_one_separator_is_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(SetupError, match=r"decode.separator: .*(must be or hold one file|can't be loaded)"):
        Separator(tmp_path, SeparatorConfig(model="file:x"))


@pytest.mark.parametrize(
    ("sidecar", "companion", "separates"),
    [
        ({}, None, False),
        ({"singing": True}, None, True),
        ({"lyrics": "la la la"}, None, True),
        ({"singing": True, "accompaniment": False}, None, False),
        ({}, "lrc", True),
        ({}, "srt", False),
        ({"singing": False}, "lrc", False),
    ],
)
def test_only_songs_with_accompaniment_are_separated(sidecar, companion, separates):
    companions = (Companion(companion, f"file:///a.{companion}", "1"),) if companion else ()
    song = Recording("a.wav", "file:///a.wav", 1, "1", json.dumps(sidecar), companions)
    assert is_accompanied(song) == separates


class TestStage:
    def decoded(self, folder, module, **sidecar):
        soundfile.write(folder / "song.wav", np.stack([VOICE + BASS, VOICE], axis=1), RATE)
        model = f"file:{scripted(folder, module)}"
        config = DecodeConfig(separator={"model": model})
        audio = SpooledAudio(folder / "spool", config, "f")
        uri = (folder / "song.wav").as_uri()
        song = Recording("song.wav", uri, 1, "1", json.dumps(sidecar))
        stage = DecodeStage(config, audio, {model: folder / "model.pt"})
        stage.setup()
        (done,) = stage(Unit("u", (song,))).recordings
        return audio, done

    def test_the_spool_of_a_song_has_its_vocals_also_when_it_is_decoded_again(self, tmp_path):
        audio, song = self.decoded(tmp_path, HighPass(), singing=True)
        assert song.decode.result.tracks == 1
        assert [note.kind for note in song.decode.result.notes] == ["separated"]
        first = audio.read(song)
        assert abs(level(first[RATE:-RATE], BASS[RATE:-RATE])) < 0.3
        audio.drop(song)
        assert np.array_equal(audio.read(replace(song, sidecar="{}")), first)
        assert [path.suffix for path in (tmp_path / "spool" / "spool" / "f").iterdir()] == [".flac"]

    def test_speech_and_a_cappella_stay_as_they_are(self, tmp_path):
        audio, said = self.decoded(tmp_path, Times(0.0))
        assert level(audio.read(said), BASS) == pytest.approx(0.5, abs=0.05)
        _, sung = self.decoded(tmp_path, Times(0.0), singing=True, accompaniment=False)
        assert sung.decode.problems == said.decode.problems == ()

    def test_a_song_without_vocals_is_set_aside(self, tmp_path):
        _, song = self.decoded(tmp_path, Times(0.0), singing=True)
        assert [problem.code for problem in song.decode.problems] == ["no_vocals"]


def test_without_a_separator_the_stage_is_as_before_there_were_any():
    assert "separator" not in DecodeConfig().content()
    assert DecodeConfig().models == ()
