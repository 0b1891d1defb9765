"""Questions of `init --talk` as rows of a benchmark."""

import json
from collections import Counter

import pytest

from pipeline.evaluation.answers.benchmark import open_benchmark
from pipeline.evaluation.answers.ears import SILENCE
from pipeline.evaluation.answers.rules import AnswerTurn, judge_by_rules, score_of
from pipeline.evaluation.answers.talk_rows import is_talk, talk_question
from schemas.errors import DataError, SetupError
from stages.synthesize.talk import judging_dialogues
from stages.synthesize.talk.hearing import right

ROWS = [dialogue.row() for dialogue in judging_dialogues(600)]
ALONE = [row for row in ROWS if len(row["messages"]) == 2]
SUM = {
    "messages": [
        {"role": "user", "content": "What is three plus four?"},
        {"role": "assistant", "content": "It's seven."},
    ],
    "family": "sum",
    "right": ["It's seven.", "Three plus four is seven."],
}


def scored(row, answer):
    return score_of(judge_by_rules(talk_question(row, "x"), [AnswerTurn(answer, SILENCE)]))


def write(file, rows):
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(file)


def test_a_question_has_its_family_as_the_dimension_and_its_answer_as_the_reference():
    row = talk_question(SUM, "x")
    assert row.dimension == "sum"
    assert row.id.startswith("sum-")
    assert [(turn.text, turn.reference) for turn in row.turns] == [
        ("What is three plus four?", "It's seven.")
    ]


@pytest.mark.parametrize(
    ("heard", "score"), [("It's 7!", 1), ("3 + 4 = 7", 1), ("It's eight.", 0), ("It's seven or eight.", 0)]
)
def test_any_right_wording_is_right_and_nothing_else(heard, score):
    assert scored(SUM, heard) == score


def test_the_rule_is_that_of_talk():
    assert len(ALONE) > 150
    for row, other in zip(ALONE, [*ALONE[1:], ALONE[0]], strict=True):
        assert all(scored(row, answer) == 1 for answer in row["right"])
        answer = other["messages"][-1]["content"]
        assert scored(row, answer) == right(row, answer)


def test_a_style_is_told_to_the_judge():
    styled = next(row for row in ALONE if row.get("answer_style") == "slow")
    assert "slow" in talk_question(styled, "x").instruction
    assert talk_question(SUM, "x").instruction is None


def test_dialogues_of_several_exchanges_are_left_out_and_counted(tmp_path):
    benchmark = open_benchmark(write(tmp_path / "held-out.jsonl", ROWS))
    assert Counter(row.dimension for row in benchmark.rows) == Counter(row["family"] for row in ALONE)
    (told,) = benchmark.refused
    assert told.startswith(f"held-out.jsonl: {len(ROWS) - len(ALONE)} dialogues of several exchanges")


def test_a_file_of_such_dialogues_alone_is_no_benchmark(tmp_path):
    several = [row for row in ROWS if len(row["messages"]) > 2]
    with pytest.raises(SetupError, match="dialogues of several exchanges"):
        open_benchmark(write(tmp_path / "held-out.jsonl", several))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"messages": "What is three plus four?"}, "held-out.jsonl:3: `messages` is not a list"),
        ({"right": []}, r"held-out.jsonl:3: `checks.0.one_of.any`"),
    ],
)
def test_a_bad_row_is_told_with_its_place(change, why):
    with pytest.raises(DataError, match=why):
        talk_question(SUM | change, "held-out.jsonl:3")


def test_other_rows_are_not_talk():
    assert is_talk(SUM)
    assert not is_talk({"messages": []})
    assert not is_talk({"id": "a", "dimension": "d", "turns": [{"text": "?"}]})
    assert not is_talk(None)
