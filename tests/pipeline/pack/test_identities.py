"""Speakers of a dataset get the names of enrolled people, and one name over all recordings."""

import shutil

import pytest
import soundfile

from pipeline.config.recipe import Recipe
from pipeline.pack.identities import enrolled_voices
from pipeline.versions.reader import Reference, open_version
from schemas.errors import SetupError
from schemas.recording import Speaker
from tests.paths import DEMO
from tests.pipeline.annotations import packed, planned
from tests.stages.annotated import a_turn

READER = DEMO / "monologues" / "librivox_ss_0870.mp3"
OTHER = DEMO / "monologues" / "sonnet001_en.mp3"


def cut_in_two(recording, first, second):
    samples, rate = soundfile.read(recording)
    for path, half in ((first, samples[: len(samples) // 2]), (second, samples[len(samples) // 2 :])):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, half, rate)


def voices_of(folder):
    recipe = Recipe.model_validate({"name": "x", "identify": {"voices": str(folder)}})
    return {name: tuple(vector.tolist()) for name, vector in enrolled_voices(recipe).items()}


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Two folders: the first halves of two people's recordings, to be enrolled, and the second ones."""
    folder = tmp_path_factory.mktemp("voices")
    for name, recording in (("Linda", READER), ("Karl", OTHER)):
        cut_in_two(recording, folder / "enrolled" / name / "1.wav", folder / "heard" / f"{name}.wav")
    return folder


def built(folder, heard, **recipe):
    """The rows of the turns of a call of two and a monologue of one of them."""
    turns = {
        "call.wav": [a_turn(recording="call.wav", speaker=who, index=n) for n, who in enumerate("AB")],
        "talk.wav": [a_turn(recording="talk.wav", speaker="X")],
        "mute.wav": [a_turn(recording="mute.wav", speaker="Y")],
    }
    speakers = {
        "call.wav": (Speaker("A", 30.0, heard["Linda"]), Speaker("B", 20.0, heard["Karl"])),
        "talk.wav": (Speaker("X", 9.0, heard["Linda"]),),
        "mute.wav": (Speaker("Y", 0.1, ()),),
    }
    plan = planned(folder, turns, speakers, compose={"families": ["asr"]}, **recipe)
    packed(plan)
    with open_version(Reference.parse(str(folder / "out" / "given"))).table("turns") as table:
        rows = table.to_table().to_pylist()
    return plan, {(row["recording"], row["speaker"]): row for row in rows}


def test_speakers_get_the_names_of_enrolled_people(halves, tmp_path):
    heard = voices_of(halves / "heard")
    _, rows = built(tmp_path, heard, identify={"voices": str(halves / "enrolled")})
    names = {place: row["identity"] for place, row in rows.items()}
    assert names == {
        ("call.wav", "A"): "Linda",
        ("call.wav", "B"): "Karl",
        ("talk.wav", "X"): "Linda",
        ("mute.wav", "Y"): None,
    }
    assert 0.7 < rows["call.wav", "A"]["identity_similarity"] < 1
    assert rows["call.wav", "A"]["identity_margin"] > 0.1


def test_people_whom_nobody_enrolled_have_one_name_in_all_recordings(halves, tmp_path):
    heard = voices_of(halves / "heard")
    _, rows = built(tmp_path, heard, identify={"across_recordings": True})
    assert rows["call.wav", "A"]["identity"] == rows["talk.wav", "X"]["identity"] == "call.wav A"
    assert rows["call.wav", "B"]["identity"] == "call.wav B"


def test_without_the_section_nobody_has_a_name(halves, tmp_path):
    _, rows = built(tmp_path, voices_of(halves / "heard"))
    assert {row["identity"] for row in rows.values()} == {None}


def test_hours_of_a_speaker_are_counted_over_all_recordings(halves, tmp_path):
    heard = voices_of(halves / "heard")
    capped = {"mixture": {"speaker_hours_max": 5 / 3600}}
    _, alone = built(tmp_path / "alone", heard, **capped)
    _, known = built(tmp_path / "known", heard, identify={"across_recordings": True}, **capped)

    def kept(rows):
        return sum(row["status"] == "used" for row in rows.values())

    assert (kept(alone), kept(known)) == (4, 3)


def test_another_recording_of_a_voice_makes_another_version(halves, tmp_path):
    heard = voices_of(halves / "heard")
    enrolled = shutil.copytree(halves / "enrolled", tmp_path / "enrolled")
    first, _ = built(tmp_path / "data", heard, identify={"voices": str(enrolled)})
    shutil.copy(halves / "heard" / "Linda.wav", enrolled / "Linda" / "2.wav")
    second, _ = built(tmp_path / "data", heard, identify={"voices": str(enrolled)})
    assert second.id != first.id
    assert [stage.fingerprint for stage in second.stages] == [stage.fingerprint for stage in first.stages]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("Linda.wav", b"<html>", r"identify\.voices: .*Linda\.wav: .*: remove it, or replace it"),
        (".hidden", b"", r"identify\.voices: there is no recording under"),
    ],
)
def test_voices_that_cannot_be_read_stop_the_build(tmp_path, name, content, told):
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / name).write_bytes(content)
    with pytest.raises(SetupError, match=told):
        voices_of(tmp_path / "voices")
