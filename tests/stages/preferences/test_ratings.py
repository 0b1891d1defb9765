"""Ratings by people: two forms of rows, of which the last counts, and pairs of the best and worst answer."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.errors import DataError
from schemas.recording import Codes
from stages.preferences.candidates import read_candidates
from stages.preferences.ratings import Ratings, best_and_worst, read_rating


def rating(answer, rater="anna", score=3, **fields):
    return {"prompt": "p1", "answer": answer, "rater": rater, "score": score} | fields


def choice(better, *answers, rater="anna", **fields):
    return {"prompt": "p1", "answers": list(answers), "rater": rater, "choice": better} | fields


def collected(*rows):
    ratings = Ratings()
    for row in rows:
        ratings.add(read_rating(row))
    return ratings


def a_prompt(answers=("a", "b", "c", "d")):
    row = {
        "id": "p1",
        "messages": [{"role": "user", "content": "When?"}],
        "answers": [{"id": name, "text": f"At {name}."} for name in answers],
    }
    return read_candidates(row, "c.jsonl:1", lambda name: Codes((), ()))


def scores(**ratings):
    """The scores of answers, each by raters 0, 1 and so on."""
    rows = [rating(name, f"{n}", score) for name, values in ratings.items() for n, score in enumerate(values)]
    return collected(*rows).scores("p1")


def test_the_best_answer_is_paired_with_the_worst():
    choice = best_and_worst(a_prompt(), scores(a=[2, 3], b=[5, 4], c=[1, 2], d=[4, 4]), margin=1, raters=2)
    assert (choice.chosen.id, choice.rejected.id) == ("b", "c")
    assert choice.provenance["margin"] == 3.0
    assert choice.provenance["scores"]["b"] == {"0": 5.0, "1": 4.0}


@pytest.mark.parametrize(
    ("ratings", "code"),
    [
        ({"a": [3], "b": [3], "c": [3]}, "tie"),
        ({"a": [3, 4], "b": [4, 4]}, "small_margin"),
        ({"a": [5]}, "few_ratings"),
        ({"a": [5, 5], "b": [1]}, "few_ratings"),
    ],
)
def test_similar_scores_or_few_ratings_make_no_pair(ratings, code):
    with pytest.raises(DataError) as error:
        best_and_worst(a_prompt(), scores(**ratings), margin=1, raters=2 if len(ratings) == 2 else 1)
    assert error.value.code == code


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(1, 5), min_size=1, max_size=4)))
def test_the_chosen_answer_has_the_highest_mean_score(ratings):
    assume(ratings)
    try:
        choice = best_and_worst(a_prompt(), scores(**ratings), margin=0.5, raters=1)
    except DataError:
        return
    means = {name: np.mean(values) for name, values in ratings.items()}
    assert means[choice.chosen.id] == max(means.values())
    assert means[choice.rejected.id] == min(means.values())
    assert choice.provenance["margin"] >= 0.5


@pytest.mark.parametrize(
    "row",
    [
        [],
        {"prompt": "p1", "answer": "a", "score": 3},
        {"prompt": "p1", "answer": "a", "rater": "r", "score": 6},
        {"prompt": "p1", "answer": "a", "rater": "r", "score": "4"},
        {"prompt": "p1", "answer": "a", "rater": "r", "score": True},
        {"prompt": "p1", "answer": "a", "rater": "r", "score": float("nan")},
        {"prompt": "p1", "answer": "a", "rater": "r", "score": 3, "at": "yesterday"},
        {"prompt": "p1", "answer": "a", "rater": "r", "score": 3, "at": 12},
        {"prompt": "p1", "answers": ["a", "b"], "rater": "r"},
        {"prompt": "p1", "answers": ["a", "b"], "rater": "r", "choice": "c"},
        {"prompt": "p1", "answers": ["a", "a"], "rater": "r", "choice": "a"},
        {"prompt": "p1", "answers": ["a", None], "rater": "r", "choice": "a"},
        {"prompt": "p1", "answers": ["a"], "rater": "r", "choice": "a"},
        {"answers": ["a", "b"], "rater": "r", "choice": "a"},
    ],
)
def test_an_invalid_rating_is_rejected(row):
    with pytest.raises(DataError) as error:
        read_rating(row)
    assert error.value.code == "bad_rating"


def test_a_second_rating_by_the_same_rater_is_rejected():
    ratings = collected(rating("a", score=3))
    with pytest.raises(DataError, match="has rated") as error:
        ratings.add(read_rating(rating("a", score=5)))
    assert error.value.code == "rated_twice"
    assert ratings.scores("p1") == {"a": {"anna": 3.0}}


def test_a_later_rating_replaces_an_earlier_one_in_whatever_order_they_come():
    first = rating("a", score=2, at="2026-05-01T12:00:00Z")
    second = rating("a", score=4, at="2026-05-01T14:00:00+01:00")
    for rows in ((first, second), (second, first), (rating("a", score=1), second)):
        assert collected(*rows).scores("p1") == {"a": {"anna": 4.0}}
    # The order of the two answers is that in which the rater saw them.
    chosen = choice("a", "a", "b", at="2026-05-01T12:00:00Z")
    neither = choice(None, "b", "a", at="2026-05-01T12:00:05Z")
    assert collected(chosen, neither).scores("p1") == {"a": {"anna": 3.0}, "b": {"anna": 3.0}}


def test_choices_become_scores_by_the_share_of_comparisons_won():
    own = choice("a", "a", "b"), choice("a", "a", "c"), choice(None, "b", "c")
    assert collected(*own, choice("b", "a", "b", rater="ben")).scores("p1") == {
        "a": {"anna": 5.0, "ben": 1.0},
        "b": {"anna": 2.0, "ben": 5.0},
        "c": {"anna": 2.0},
    }
    # A score that was given is not changed by choices.
    assert collected(rating("a", score=2), choice("a", "a", "b")).scores("p1")["a"] == {"anna": 2.0}


def test_a_pair_is_made_of_choices():
    ratings = collected(*(choice("b", "a", "b", rater=name) for name in "xy"), choice("a", "a", "b"))
    found = best_and_worst(a_prompt(("a", "b")), ratings.scores("p1"), margin=1, raters=3)
    assert (found.chosen.id, found.rejected.id) == ("b", "a")
    assert found.provenance["margin"] == pytest.approx(4 / 3)


def test_agreement_is_that_of_the_scores_or_else_of_the_choices():
    agreed = [rating(answer, rater, score) for answer, score in (("a", 1), ("b", 5)) for rater in "xy"]
    assert collected(*agreed).agreement() == 1
    chosen = [choice(better, "a", "b", rater=rater) for better, rater in (("a", "x"), ("b", "y"))]
    assert collected(*chosen).agreement() == pytest.approx(0)
    assert collected(*agreed, *chosen).agreement() == 1
    assert collected(*chosen[:1]).agreement() is None
