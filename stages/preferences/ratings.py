"""Answers rated by people: pairs of the best and the worst answer, and the agreement of the raters."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from schemas.errors import DataError
from stages.preferences.candidates import Candidate, Choice, PreferencePrompt


@dataclass(frozen=True)
class Rating:
    """One rater's score of one answer, from 1 (worst) to 5 (best)."""

    prompt: str
    answer: str
    rater: str
    score: float


Scores = dict[str, dict[str, float]]
"""Answer -> rater -> score."""


def read_rating(row: Any) -> Rating:
    """Parse a row: `{"prompt": "p1", "answer": "a1", "rater": "anna", "score": 4}`.

    Raises DataError `bad_rating`.
    """
    if not isinstance(row, dict):
        raise DataError("bad_rating", "the row is no object")
    for name in ("prompt", "answer", "rater"):
        if not isinstance(row.get(name), (str, int)):
            raise DataError("bad_rating", f"there is no `{name}`")
    score: Any = row.get("score")
    if type(score) not in (int, float) or not 1 <= score <= 5:
        raise DataError("bad_rating", f"`score` is {score!r}, not a number from 1 to 5")
    return Rating(str(row["prompt"]), str(row["answer"]), str(row["rater"]), float(score))


def add_rating(rating: Rating, scores: dict[str, Scores]) -> None:
    """Add a rating to the scores of its prompt. Raises DataError `rated_twice`."""
    raters = scores.setdefault(rating.prompt, {}).setdefault(rating.answer, {})
    if rating.rater in raters:
        raise DataError("rated_twice", f"{rating.rater} has rated answer {rating.answer} before")
    raters[rating.rater] = rating.score


def best_and_worst(prompt: PreferencePrompt, scores: Scores, margin: float, raters: int) -> Choice:
    """The answers with the highest and lowest mean score, of those with at least `raters` ratings.

    Raises DataError `few_ratings`, `tie`, or `small_margin` if the means differ by less than `margin`.
    """
    rated = [c for c in prompt.candidates if len(scores.get(c.id, {})) >= raters]
    if len(rated) < 2:
        raise DataError("few_ratings", f"under two of its answers have {raters} ratings or more")
    means = {candidate.id: fmean(scores[candidate.id].values()) for candidate in rated}

    def order(candidate: Candidate) -> tuple[float, str]:
        return means[candidate.id], candidate.id

    worst, best = min(rated, key=order), max(rated, key=order)
    gap = means[best.id] - means[worst.id]
    if gap == 0:
        raise DataError("tie", f"all its answers have the same mean score, {means[best.id]:.2f}")
    if gap < margin:
        raise DataError("small_margin", f"best and worst are {gap:.2f} apart, under {margin:g}")
    provenance = {"source": "ratings", "margin": round(gap, 6), "scores": {c.id: scores[c.id] for c in rated}}
    return Choice(prompt, best, worst, provenance | {"chosen": best.id, "rejected": worst.id})


def agreement(scores: Iterable[Iterable[float]]) -> float | None:
    """Krippendorff's alpha of the scores of each answer, with the interval metric (Krippendorff 2011,
    "Computing Krippendorff's Alpha-Reliability").

    1 is full agreement and 0 is agreement by chance. None if no answer has two ratings,
    or all scores are equal.
    """
    units = [values for values in map(list, scores) if len(values) > 1]
    all_values = [value for values in units for value in values]
    if not all_values:
        return None
    expected = _squared_differences(all_values) / (len(all_values) - 1)
    observed = sum(_squared_differences(values) / (len(values) - 1) for values in units)
    return None if expected == 0 else 1 - observed / expected


def _squared_differences(values: list[float]) -> float:
    """Sum of (a - b)^2 over all ordered pairs of the values."""
    return 2 * (len(values) * sum(v * v for v in values) - sum(values) ** 2)
