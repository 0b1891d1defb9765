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
