import json

import pytest

from pipeline.evaluation.answers.people import scores_of_people
from schemas.errors import SetupError


def write(file, *rows):
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def rated(answer, rater, score):
    return {"prompt": "p", "answer": answer, "rater": rater, "score": score}


def test_the_score_of_an_answer_is_the_mean_of_its_raters(tmp_path):
    file = write(
        tmp_path / "ratings.jsonl",
        rated("early", "ann", 2),
        rated("early", "bob", 3),
        rated("late", "ann", 5),
    )
    assert scores_of_people(file) == {("p", "early"): 2.5, ("p", "late"): 5}


def test_without_ratings_nobody_has_scored(tmp_path):
    assert scores_of_people(tmp_path / "ratings.jsonl") == {}


def test_a_row_that_is_no_rating_is_told_with_its_line(tmp_path):
    file = write(tmp_path / "ratings.jsonl", rated("early", "ann", 2), rated("early", "bob", 9))
    with pytest.raises(SetupError, match=r"ratings\.jsonl:2: `score` is 9"):
        scores_of_people(file)


def test_of_two_ratings_by_one_rater_the_last_counts(tmp_path):
    noon, later = ({"at": f"2026-05-01T{hour}:00:00Z"} for hour in (12, 13))
    rows = (rated("early", "ann", 2) | noon, rated("early", "ann", 4) | later)
    for order in (rows, rows[::-1]):
        assert scores_of_people(write(tmp_path / "ratings.jsonl", *order)) == {("p", "early"): 4}


def test_two_ratings_of_the_same_without_their_times_are_told(tmp_path):
    file = write(tmp_path / "ratings.jsonl", rated("early", "ann", 2), rated("early", "ann", 4))
    with pytest.raises(SetupError, match=r"ratings\.jsonl:2: ann has rated early before"):
        scores_of_people(file)


def test_choices_between_two_count_by_the_share_that_is_won(tmp_path):
    def chosen(rater, choice, *answers):
        return {"prompt": "p", "answers": list(answers), "choice": choice, "rater": rater}

    rows = (chosen("ann", "late", "early", "late"), chosen("ann", None, "early", "mid"))
    scores = scores_of_people(write(tmp_path / "ratings.jsonl", *rows))
    assert scores == {("p", "late"): 5, ("p", "early"): 2, ("p", "mid"): 3}
    file = write(tmp_path / "ratings.jsonl", chosen("ann", "x", "early", "late"))
    with pytest.raises(SetupError, match=r"ratings\.jsonl:1: `choice` is 'x', not one of"):
        scores_of_people(file)
