import json

import numpy as np
import pytest
import soundfile

from pipeline.export.moshi import _alignments
from pipeline.export.run import export
from tests.pipeline.spoken import CALL, SECONDS


@pytest.fixture
def exported(spoken, tmp_path):
    return export(spoken, "moshi", tmp_path)


def test_a_conversation_of_two_is_there_for_either_side(exported, tmp_path):
    assert (exported.recordings, exported.not_two_speakers) == (1, 2)
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [line["duration"] for line in lines] == [SECONDS, SECONDS]
    assert {line["path"] for line in lines} == {
        f"data_stereo/{path.name}" for path in (tmp_path / "data_stereo").glob("*.wav")
    }


def test_each_side_is_heard_in_its_turns_alone(exported, turns, tmp_path):
    rows = turns[CALL]
    first, second = sorted((tmp_path / "data_stereo").glob("*.wav"))
    sound, rate = soundfile.read(first)
    assert np.array_equal(sound[:, ::-1], soundfile.read(second)[0])
    for side, speaker in enumerate(sorted({row["speaker"] for row in rows})):
        spoken = np.zeros(len(sound), bool)
        for row in rows:
            if row["speaker"] == speaker:
                spoken[round(row["start"] * rate) : round(row["end"] * rate)] = True
        assert sound[spoken, side].std() > 0.05
        assert not sound[~spoken, side].any()


def test_words_are_those_of_both_sides_in_their_order():
    rows = [
        {"speaker": speaker, "transcript": {"words": [{"text": f" {speaker}", "start": at, "end": at + 0.5}]}}
        for speaker, at in (("a", 1.0), ("b", 0.0), ("a", 2.0))
    ]
    assert _alignments([*rows, {"speaker": "b", "transcript": None}], "a") == {
        "alignments": [
            ["b", [0.0, 0.5], "SPEAKER_USER"],
            ["a", [1.0, 1.5], "SPEAKER_MAIN"],
            ["a", [2.0, 2.5], "SPEAKER_MAIN"],
        ]
    }
