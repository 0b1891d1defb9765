"""What is exported is an input of a build again, with the same turns."""

import pytest

from pipeline.export.run import export
from pipeline.inputs.small_files import read_text
from schemas.companions import read
from tests.pipeline.inputs.formats.given import fields, listed, turns, why


def stated(rows, speaker=str):
    return [
        (round(row["start"], 3), round(row["end"], 3), speaker(row["speaker"]), row["text"]) for row in rows
    ]


def rounded(found):
    return [(round(start, 3), round(end, 3), speaker, text) for start, end, speaker, text in found]


@pytest.mark.parametrize("format", ["nemo", "lhotse"])
def test_manifests_have_the_turns_of_every_recording(spoken, tmp_path, format, turns_of_spoken):
    export(spoken, format, tmp_path / format)
    found = {id.rpartition("/")[2]: rounded(turns(one)) for id, one in listed(tmp_path / format).items()}
    assert found == {name: stated(rows) for name, rows in turns_of_spoken.items()}


def test_cuts_have_the_turns_and_words_of_every_recording(spoken, tmp_path, turns_of_spoken):
    export(spoken, "lhotse", tmp_path / "lhotse")
    found = listed(tmp_path / "lhotse" / "cuts.jsonl")
    for id, one in found.items():
        rows = turns_of_spoken[id.rpartition("/")[2]]
        assert rounded(turns(one)) == stated(rows)
        words = [w for row in rows for w in (row["transcript"] or {}).get("words") or ()]
        ctm = [c for c in one.companions if c.kind == "ctm"]
        assert len(ctm) == bool(words)
        for companion in ctm:
            said = read("ctm", read_text(companion.uri, 100_000), companion.name, id).segments
            assert sorted((round(w.start, 3), w.text) for w in said) == sorted(
                (round(w["start"], 3), w["text"].strip()) for w in words
            )


def test_a_data_folder_has_the_turns_of_plain_files_and_refuses_commands(spoken, tmp_path, turns_of_spoken):
    export(spoken, "kaldi", tmp_path / "kaldi", uri="stem")
    found = {id.rpartition("/")[2]: one for id, one in listed(tmp_path / "kaldi").items()}
    for name in ("one.wav", "texts only.wav"):
        assert [(start, end, text) for start, end, _, text in turns(found.pop(name))] == [
            (row["start"], row["end"], row["text"]) for row in turns_of_spoken[name]
        ]
    assert {why(other)[0] for other in found.values()} == {"command"}, "the channels of a call are piped"


def test_a_data_set_has_a_recording_per_turn(spoken, tmp_path, turns_of_spoken):
    export(spoken, "hf", tmp_path / "hf")
    found = list(listed(tmp_path / "hf").values())
    rows = [row for rows in turns_of_spoken.values() for row in rows]
    assert sorted((fields(one)["id"], turns(one)[0][3]) for one in found) == sorted(
        (row["key"], row["text"]) for row in rows
    )
    assert {fields(one)["start"] for one in found} == {row["start"] for row in rows}


@pytest.fixture
def turns_of_spoken(turns):
    return {id.rpartition("/")[2]: rows for id, rows in turns.items()}


def test_tarred_data_has_a_recording_per_turn(spoken, tmp_path, turns_of_spoken):
    export(spoken, "nemo-tarred", tmp_path / "tarred")
    found = list(listed(tmp_path / "tarred").values())
    said = [row["text"] for rows in turns_of_spoken.values() for row in rows]
    assert sorted(turns(one)[0][3] for one in found) == sorted(said)
