"""Turns of a recording with the output of every stage."""

import json
from dataclasses import replace

import pytest

from schemas.recording import (
    Codes,
    DecodeColumn,
    DecodedAudio,
    Diarization,
    DiarizeColumn,
    Problem,
    Recording,
    TokenizeColumn,
    Turn,
)
from schemas.turn import turns_of
from tests.stages.annotated import DECODED


def recording(turns: int, decoded: DecodedAudio | None = DECODED, **columns) -> Recording:
    spoken = tuple(Turn(float(n), n + 1.0, "A", 0, overlapped=False) for n in range(turns))
    return Recording(
        "calls/one.wav",
        "file:///calls/one.wav",
        1,
        "1",
        '{"licence": "CC0-1.0", "speaker": {"age": 30}}',
        decode=DecodeColumn(decoded),
        diarize=DiarizeColumn(Diarization("model", (), (), spoken)),
        **columns,
    )


def test_the_sidecar_is_parsed_once_per_recording(monkeypatch: pytest.MonkeyPatch):
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or loads(text))
    one = recording(50)
    turns = list(turns_of(one))
    assert {turn.metadata["licence"] for turn in turns} == {"CC0-1.0"}
    assert not one.synthesized
    assert len(parsed) == 1


def test_a_turn_has_the_results_of_the_stages_that_ran_and_the_problem_that_set_it_aside():
    codes = (Codes((1, 2), (3, 4, 5)), None)
    problem = Problem("too_short", "50 ms is too short", 1)
    first, second = turns_of(recording(2, tokenize=TokenizeColumn(codes, (problem,))))
    assert (first.codes, first.stage, first.problem) == (codes[0], None, None)
    assert (second.codes, second.stage, second.problem) == (None, "tokenize", problem)
    assert first.transcript is None
    assert (first.index, second.index) == (0, 1)
    assert second.key == first.key.removesuffix("00000") + "00001"


def test_a_recording_that_was_not_decoded_has_no_turns():
    assert list(turns_of(recording(2, decoded=None))) == []


@pytest.mark.parametrize(
    ("sidecar", "source", "sings"),
    [
        ({}, "model", False),
        ({"singing": True}, "model", True),
        ({"singing": "yes"}, "model", True),
        ({"lyrics": "la la la"}, "model", True),
        ({"lyrics": ""}, "model", False),
        ({}, "lrc", True),
        ({"singing": False, "lyrics": "spoken lyrics"}, "lrc", False),
    ],
)
def test_turns_of_a_song_are_sung(sidecar, source, sings):
    one = recording(2)
    diarized = replace(one.diarize, result=replace(one.diarize.result, source=source))
    song = replace(one, sidecar=json.dumps(sidecar), diarize=diarized)
    assert {turn.sings for turn in turns_of(song)} == {sings}
