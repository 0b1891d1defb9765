import pytest

from schemas.benchmark import parse_row
from schemas.errors import DataError

ROW = {"id": "a", "dimension": "gaming", "turns": [{"text": "Hello."}, {"text": "And now?"}]}


def test_a_row_has_turns_and_checks():
    row = parse_row(ROW | {"checks": [{"kind": "number", "value": 5, "turn": 1}]}, "b.jsonl:1")
    assert [turn.text for turn in row.turns] == ["Hello.", "And now?"]
    assert row.checks[0].turn == 1


def test_null_is_the_same_as_no_key():
    assert parse_row(ROW | {"instruction": None}, "b.jsonl:1") == parse_row(ROW, "b.jsonl:1")


@pytest.mark.parametrize(
    ("asked", "language"),
    [("What now?", "en"), ("现在呢？", "zh")],
)
def test_the_language_is_that_of_the_questions(asked, language):
    assert parse_row(ROW | {"turns": [{"text": asked}]}, "x").spoken_language == language
    assert parse_row(ROW | {"turns": [{"text": asked}], "language": "fr"}, "x").spoken_language == "fr"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"dimension": None}, "`dimension`: Field required"),
        ({"turns": []}, "`turns`"),
        ({"turns": [{}]}, "`turns.0`: needs `audio` or `text`"),
        ({"turns": [{"text": "x", "sound": "y"}]}, "`turns.0.sound`"),
        ({"checks": [{"kind": "numbers", "value": 5}]}, "`checks.0`"),
        ({"checks": [{"kind": "number", "value": "five"}]}, "`checks.0.number.value`"),
        ({"checks": [{"kind": "one_of", "any": []}]}, "`checks.0.one_of.any`"),
        ({"checks": [{"kind": "contains"}]}, "needs `any`, `all` or `none`"),
        (
            {"checks": [{"kind": "number", "value": 1, "turn": 3}]},
            "checks.0.turn is 3, and there are 2 turns",
        ),
        ({"checks": [{"kind": "voice", "label": "slower"}]}, "'slower', not one of slow"),
        ({"checks": [{"kind": "voice", "label": "slow", "turn": 1}]}, "compares the first turn"),
        (
            {"checks": [{"kind": "voice_turns", "changes": each} for each in (["slow"], ["slow", "fast"])]},
            "checks.1 divides the answer into 3 parts, and another check into 2: use one check",
        ),
        ({"checks": [{"kind": "voice_turns", "changes": []}]}, "`checks.0.voice_turns.changes`"),
        ({"checks": [{"kind": "says", "earlier": 2}]}, "which is not before turn 2"),
        ({"checks": [{"kind": "says"}]}, "needs either `text` or `earlier`"),
    ],
)
def test_a_bad_row_is_told_with_its_place_and_key(change, key):
    with pytest.raises(DataError) as raised:
        parse_row(ROW | change, "bench.jsonl:7")
    assert raised.value.code == "bad_row"
    assert raised.value.message.startswith("bench.jsonl:7: ")
    assert key in raised.value.message


def test_a_row_is_an_object():
    with pytest.raises(DataError, match="the row is not an object"):
        parse_row([1], "bench.jsonl:7")
