"""A song with its lyrics is kept and one with those of another song is set aside, step by step."""

import json
import tarfile
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from schemas.recording import Recording, Unit
from schemas.turn import turns_of
from stages.decode import DecodeConfig, DecodeStage
from stages.diarize import DiarizeConfig, DiarizeStage
from stages.quality import QualityConfig, QualityStage
from stages.tokenize import TokenizeConfig, TokenizeStage
from stages.transcribe import TranscribeConfig, TranscribeStage
from tests.paths import RECORDINGS
from tests.pipeline.annotations import packed, planned

SONG = RECORDINGS / "songs" / "vocadito_14.flac"
LYRICS = {
    "right.flac": "Happy birthday to you\nHappy birthday to you\nHappy birthday dear listener",
    "wrong.flac": "Row, row, row your boat\nGently down the stream\nMerrily, merrily, merrily",
}
STAGES = {
    DecodeStage: DecodeConfig(),
    DiarizeStage: DiarizeConfig(device="cpu"),
    TranscribeStage: TranscribeConfig(device="cpu"),
    QualityStage: QualityConfig(device="cpu", melody=True),
    TokenizeStage: TokenizeConfig(device="cpu"),
}


@pytest.fixture(scope="module")
def sung(tmp_path_factory):
    """The turns of a song, as the stages of annotate leave them."""
    audio = SpooledAudio(tmp_path_factory.mktemp("audio"), DecodeConfig(), "songs")
    unit = Unit("u", (Recording(SONG.name, SONG.as_uri(), SONG.stat().st_size, "1", "{}"),))
    for kind, config in STAGES.items():
        models = {name: resolve(name).path for name in getattr(config, "models", ())}
        stage = kind(config, audio, models)
        stage.setup()
        unit = stage(unit)
    return list(turns_of(unit.recordings[0]))


def version_of(folder, sung, families=("asr",), **select):
    turns = {
        name: [
            replace(turn, recording=name, metadata={"lyrics": lyrics, "title": "Happy birthday"})
            for turn in sung
        ]
        for name, lyrics in LYRICS.items()
    }
    plan = planned(folder, turns, select=select, compose={"families": list(families)})
    manifest = packed(plan, with_pages=True)
    return manifest, folder / "out" / "given" / "versions" / manifest.version


def test_a_song_with_right_lyrics_is_kept_and_one_with_wrong_lyrics_set_aside(tmp_path, sung):
    manifest, version = version_of(tmp_path, sung, singing={})
    rows = pq.read_table(version / "turns.parquet").to_pylist()
    right, wrong = ([row for row in rows if row["recording"] == name] for name in LYRICS)
    assert len(right) == len(wrong) == len(sung)
    assert all(row["sings"] for row in rows)
    assert {row["status"] for row in right} == {"used"}
    assert {row["code"] for row in wrong} == {"other_text"}
    for row in right:
        assert row["transcript"]["known_text"].startswith("Happy birthday")
        assert row["assessment"]["sustained_share"] > 0.2
        assert {"key", "tempo_bpm", "vibrato_hz", "vibrato_cents"} <= row["assessment"].keys()
        assert len(row["assessment"]["melody"]) == pytest.approx(25 * (row["end"] - row["start"]), abs=2)
    seconds = sum(row["end"] - row["start"] for row in right)
    assert manifest.songs["kept"] == pytest.approx(seconds, abs=0.01)
    assert manifest.songs["select/other_text"] == pytest.approx(seconds, abs=0.01)
    assert "| select/other_text |" in (version / "README.md").read_text()
    assert "Songs, step by step" in (version / "report.html").read_text()


def test_without_limits_of_their_own_songs_are_judged_as_speech_and_not_compared(tmp_path, sung):
    _, version = version_of(tmp_path, sung)
    rows = pq.read_table(version / "turns.parquet").to_pylist()
    assert {row["transcript"]["known_text_error"] for row in rows} == {None}
    right, wrong = ([row["status"] for row in rows if row["recording"] == name] for name in LYRICS)
    assert right == wrong


def test_lines_are_sung_spoken_gone_on_with_and_named(tmp_path, sung):
    families = ("sing", "nextline", "lyrics", "songname")
    manifest, version = version_of(tmp_path, sung, families, singing={})
    assert {"sing", "lyrics", "songname"} <= set(manifest.samples)
    samples = list(samples_of(version))
    assert {sample["source"]["recording"] for sample in samples} == {"right.flac"}
    for sample in samples:
        human, assistant = sample["messages"]
        given, answer = human["content"][-1], assistant["content"][0]
        match sample["family"]:
            case "sing":
                assert (given["type"], answer["type"]) == ("text", "audio")
                assert given["text"].startswith("Happy birthday")
            case "lyrics":
                assert (given["type"], answer["type"]) == ("audio", "text")
                assert answer["text"].startswith("Happy birthday")
            case "nextline":
                assert answer["turn"] > given["turn"]
            case "songname":
                assert answer["text"] == "It is “Happy birthday”."


def samples_of(version):
    for shard in (version / "shards").glob("*.tar"):
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    yield json.load(tar.extractfile(member))
