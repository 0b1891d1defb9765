"""What somebody marked decides about a turn, also when the next build finds it a little earlier or later."""

import json

import pytest
from pydantic import ValidationError

from stages.select import SelectConfig, TurnMark, mark_of, parse_marks, select
from tests.stages.annotated import a_turn


def a_mark(mark="bad", start=0.0, end=4.0, **fields):
    return TurnMark(**{"recording": "calls/one.wav", "start": start, "end": end, "mark": mark} | fields)


@pytest.mark.parametrize(
    ("mark", "code"), [("bad", "marked_bad"), ("wrong_speaker", "marked_wrong_speaker"), ("good", None)]
)
def test_a_mark_is_the_reason_to_set_a_good_turn_aside(mark, code):
    problem = select(a_turn(), SelectConfig(marks=(a_mark(mark),)))
    assert (problem.code if problem else None) == code


def test_a_good_turn_is_kept_whatever_the_thresholds_are():
    poor = a_turn(end=0.6, dnsmos_overall=1.0, phantom=True)
    assert select(poor, SelectConfig()) is not None
    assert select(poor, SelectConfig(marks=(a_mark("good", end=0.6),))) is None


@pytest.mark.parametrize(
    ("turn", "settings", "code"),
    [
        (a_turn(text=" "), {}, "no_text"),
        (a_turn(overlapped=True), {}, "overlapped"),
        (a_turn(), {"deny": ("calls/one.wav",)}, "denied"),
        (a_turn(), {"consent": "required"}, "no_consent"),
        (a_turn(text="write to a@example.com please"), {"pii": True}, "personal_data"),
        (a_turn(), {"languages": ("de",)}, "other_language"),
    ],
)
def test_what_is_no_threshold_counts_for_good_turns_too(turn, settings, code):
    problem = select(turn, SelectConfig(marks=(a_mark("good"),), **settings))
    assert problem is not None
    assert problem.code == code


@pytest.mark.parametrize(
    ("turn", "marked"),
    [
        (a_turn(start=0.3, end=4.4), True),
        (a_turn(start=3.0, end=7.0), False),
        (a_turn(start=0.0, end=1.9), False),
        (a_turn(track=1), False),
        (a_turn(recording="calls/two.wav"), False),
        (a_turn(index=7), True),
    ],
)
def test_a_mark_holds_where_at_least_half_of_the_time_of_both_is_the_same(turn, marked):
    problem = select(turn, SelectConfig(marks=(a_mark(),)))
    assert (problem is not None and problem.code == "marked_bad") == marked


def test_of_several_marks_the_nearest_counts():
    marks = [a_mark("bad", 0.0, 4.0), a_mark("good", 0.2, 4.2)]
    assert mark_of(a_turn(start=0.2, end=4.2), marks) == marks[1]


def line(mark, **fields):
    return json.dumps({"recording": "r.wav", "track": 0, "start": 1.0, "end": 2.0, "mark": mark} | fields)


def test_the_last_line_of_a_turn_counts_and_null_removes_its_mark():
    lines = [
        line("bad"),
        "",
        line("good", start=5.0, end=6.0, text="for people"),
        line("good"),
        line(None, start=5.0, end=6.0),
    ]
    assert [(mark.start, mark.mark) for mark in parse_marks(lines)] == [(1.0, "good")]
    assert parse_marks([line("bad", start=3.0, end=4.0), line("bad")]) == parse_marks(
        [line("bad"), line("bad", start=3.0, end=4.0)]
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("{", "line 2"),
        ("[]", "an object"),
        (line("great"), "line 2: mark"),
        (line("bad", end=0.5), "after `start`"),
        ('{"recording": "r.wav", "mark": "bad"}', "start"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(wrong, told):
    with pytest.raises(ValueError, match=told):
        parse_marks([line("bad"), wrong])


def test_a_mark_of_a_recipe_has_no_unknown_fields():
    with pytest.raises(ValidationError):
        SelectConfig.model_validate({"marks": [json.loads(line("bad", marc="bad"))]})


def test_a_correction_needs_no_mark_and_holds_beside_one():
    (corrected,) = parse_marks([line(None, corrected={"text": "as it was said"})])
    assert corrected.corrected.text == "as it was said"
    assert select(a_turn(), SelectConfig(marks=(a_mark(None, corrected={"speaker": "B"}),))) is None
    both = a_mark("bad", corrected={"speaker": "B"})
    assert select(a_turn(), SelectConfig(marks=(both,))).code == "marked_bad"


@pytest.mark.parametrize("wrong", [{"text": " "}, {"text": "..."}, {"speaker": ""}, {"language": "English"}])
def test_an_empty_text_or_speaker_is_no_correction(wrong):
    with pytest.raises(ValueError, match=r"line 1: corrected\."):
        parse_marks([line(None, corrected=wrong)])


def test_a_mark_without_a_correction_is_written_as_in_earlier_recipes():
    assert "corrected" not in a_mark().model_dump()
