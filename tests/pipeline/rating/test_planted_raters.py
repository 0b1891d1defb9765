"""Simulated raters of known noise: the agreement found is that which was planted.

A rater takes the true mark with probability 1 - p, else any of the marks. With marks that are equally often
true, two raters then agree beyond chance with (1 - p)(1 - q), whatever the metric.
"""

import json
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest

from pipeline.rating.session import RatingSession, Verdict
from pipeline.rating.tasks import read_tasks
from pipeline.storage.saved_rows import SavedRows
from stages.preferences.ratings import Ratings, read_rating
from tests.pipeline.rating.rows import answer, row, write_rows

PROMPTS = 300
NOISE = {"careful": 0.1, "average": 0.3, "careless": 0.6}


def planted(noise):
    return fmean((1 - p) * (1 - q) for p, q in combinations(noise.values(), 2))


def rated(tmp_path, draws, truth, marks, choose):
    """Every rater rates every task; returns the overview."""
    rows = [row(name, answer("a"), *([answer("b")] if choose else [])) for name in truth]
    tasks, _ = read_tasks([write_rows(tmp_path / "c.jsonl", rows)], choose)
    session = RatingSession(tasks, list(NOISE), SavedRows(tmp_path / "r.jsonl", "rate", "rating"))
    for rater, noise in NOISE.items():
        for id in session.state(rater)["tasks"]:
            shown = session.shown(rater, id)
            true = truth[shown["messages"][0]["text"].removeprefix("What of ").removesuffix("?")]
            mark = marks[draws.integers(len(marks))] if draws.random() < noise else true
            if choose:
                first, second = (one["text"] for one in shown["answers"])
                side = {first: "first", second: "second"}.get(f"Text of {mark}.", "neither")
                session.save(rater, id, Verdict(choice=side))
            else:
                session.save(rater, id, Verdict(score=mark))
    return session.overview()


@pytest.mark.parametrize(("marks", "choose"), [((1, 2, 3, 4, 5), False), (("a", "b", "neither"), True)])
def test_the_agreement_found_is_that_which_was_planted(tmp_path, marks, choose):
    draws = np.random.default_rng(7)
    truth = {f"p{n}": marks[n % len(marks)] for n in range(PROMPTS)}
    overview = rated(tmp_path, draws, truth, marks, choose)
    assert overview["rated_by_several"] == PROMPTS
    assert overview["agreement"] == pytest.approx(planted(NOISE), abs=0.08)
    ratings = Ratings()
    for line in (tmp_path / "r.jsonl").read_text().splitlines():
        ratings.add(read_rating(json.loads(line)))
    print({"planted": planted(NOISE), "found": overview["agreement"], "interval": ratings.agreement()})
    # The interval metric in place of the ordinal one.
    assert ratings.agreement() == pytest.approx(overview["agreement"], abs=0.05)
