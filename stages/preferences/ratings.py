"""Answers rated by people: pairs of the best and the worst answer, and the agreement of the raters.

A rater gives an answer a score, or chooses between two answers (null: neither is better):

`{"prompt": "p1", "answer": "a1", "rater": "anna", "score": 4}`
`{"prompt": "p1", "answers": ["a1", "a2"], "rater": "anna", "choice": "a1"}`

With `at`, the time of the rating, a row replaces an earlier rating of the same by the same rater.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from schemas.errors import DataError
from stages.preferences.agreement import alpha
from stages.preferences.candidates import Candidate, Choice, PreferencePrompt

BEST, WORST = 5.0, 1.0
"""The ends of the scale of scores."""


@dataclass(frozen=True)
class Rating:
    """One rater's score of one answer, from 1 (worst) to 5 (best)."""

    prompt: str
    answer: str
    rater: str
    score: float
    at: datetime | None = None
    reason: str = ""

    @property
    def answers(self) -> tuple[str, ...]:
        return (self.answer,)


@dataclass(frozen=True)
class PairRating:
    """One rater's choice between two answers, which are sorted by id."""

    prompt: str
    answers: tuple[str, ...]
    rater: str
    choice: str | None
    """The better answer; None: neither is better."""
    at: datetime | None = None
    reason: str = ""

    @property
    def side(self) -> int:
        """0: the first answer is better, 1: the second, 2: neither."""
        return 2 if self.choice is None else self.answers.index(self.choice)


Scores = dict[str, dict[str, float]]
"""Answer -> rater -> score."""


def read_rating(row: Any) -> Rating | PairRating:
    """Parse a row in one of the two forms. Raises DataError `bad_rating`."""
    if not isinstance(row, dict):
        raise DataError("bad_rating", "the row is no object")
    at, reason = _time(row.get("at")), str(row.get("reason") or "")
    prompt, rater = (_id(row.get(name), name) for name in ("prompt", "rater"))
    if "choice" in row:
        answers, choice = _pair(row.get("answers")), row["choice"]
        if choice is not None and str(choice) not in answers:
            raise DataError("bad_rating", f"`choice` is {choice!r}, not one of `answers` or null")
        return PairRating(prompt, answers, rater, None if choice is None else str(choice), at, reason)
    answer = _id(row.get("answer"), "answer")
    score: Any = row.get("score")
    if type(score) not in (int, float) or not WORST <= score <= BEST:
        raise DataError("bad_rating", f"`score` is {score!r}, not a number from 1 to 5")
    return Rating(prompt, answer, rater, float(score), at, reason)


def _pair(value: Any) -> tuple[str, ...]:
    answers = tuple(sorted(_id(one, "answers") for one in value)) if isinstance(value, list) else ()
    if len(answers) != 2 or answers[0] == answers[1]:
        raise DataError("bad_rating", "`answers` is not a list of two ids")
    return answers


def _id(value: Any, name: str) -> str:
    if not isinstance(value, (str, int)):
        raise DataError("bad_rating", f"there is no `{name}`")
    return str(value)


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise DataError("bad_rating", f"`at` is {value!r}, not a time such as 2026-05-01T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class Ratings:
    """The ratings of all prompts. Of a rater's ratings of the same answer or pair, the last counts."""

    def __init__(self) -> None:
        self._of_prompt: dict[str, dict[tuple[str, ...], dict[str, Rating | PairRating]]] = {}

    def add(self, rating: Rating | PairRating) -> None:
        """Raises DataError `rated_twice` if the rater has rated the same, and `at` doesn't say when."""
        by_rater = self._of_prompt.setdefault(rating.prompt, {}).setdefault(rating.answers, {})
        earlier = by_rater.get(rating.rater)
        if earlier is not None and rating.at is None:
            raise DataError("rated_twice", f"{rating.rater} has rated {' and '.join(rating.answers)} before")
        if earlier is None or earlier.at is None or rating.at is None or rating.at >= earlier.at:
            by_rater[rating.rater] = rating

    def of(self, prompt: str, answers: tuple[str, ...]) -> Mapping[str, Rating | PairRating]:
        """Rater -> rating of an answer, or of a pair of answers sorted by id."""
        return self._of_prompt.get(prompt, {}).get(answers, {})

    def scores(self, prompt: str) -> Scores:
        """The scores of a prompt's answers. Where a rater chose instead, an answer's score is between 1 and 5
        as the share of its comparisons that it won; half of one where neither is better."""
        scores: Scores = {}
        won: dict[tuple[str, str], list[float]] = {}
        for by_rater in self._of_prompt.get(prompt, {}).values():
            for rater, rating in by_rater.items():
                if isinstance(rating, Rating):
                    scores.setdefault(rating.answer, {})[rater] = rating.score
                    continue
                for answer in rating.answers:
                    share = 0.5 if rating.choice is None else float(rating.choice == answer)
                    won.setdefault((answer, rater), []).append(share)
        for (answer, rater), shares in won.items():
            scores.setdefault(answer, {}).setdefault(rater, WORST + (BEST - WORST) * fmean(shares))
        return scores

    def agreement(self) -> float | None:
        """Krippendorff's alpha of the scores, with the interval metric, or of the choices if there are no
        scores. None if nothing was rated twice, or all ratings are equal."""
        units = [by_rater.values() for own in self._of_prompt.values() for by_rater in own.values()]
        scores = [[rating.score for rating in unit if isinstance(rating, Rating)] for unit in units]
        if any(scores):
            return alpha(scores, "interval")
        return alpha([[r.side for r in unit if isinstance(r, PairRating)] for unit in units], "nominal")


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
