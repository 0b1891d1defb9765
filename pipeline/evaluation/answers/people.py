"""Scores by people: `ratings.jsonl` in an evaluation's folder, as `rate` writes it.

`prompt` is the id of a row, and answers are named by their model. A rater gives an answer a `score` from 1 to
5 (`preferences.ratings`), or chooses between two `answers` (`choice`; null: neither is better), which counts
as 1 to 5 by the share of choices that an answer won. Of two ratings of the same by one rater the last counts.
"""

from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.inputs.row_files import read_rows
from schemas.errors import DataError, SetupError
from stages.preferences.ratings import Rating, read_rating

Key = tuple[str, str]
"""Row and model."""


def scores_of_people(file: Path) -> dict[Key, float]:
    """(row, model) -> mean score of the raters, 1 to 5. Raises SetupError for a row that is no rating."""
    if not file.exists():
        return {}
    scored: dict[Key, dict[str, float]] = defaultdict(dict)
    won: dict[Key, dict[tuple[str, ...], float]] = defaultdict(dict)
    for where, value in read_rows([str(file)]):
        try:
            if isinstance(value, DataError):
                raise value
            if isinstance(value, dict) and "choice" in value:
                _choose(value, won)
            elif isinstance(rating := read_rating(value), Rating):
                scored[rating.prompt, rating.answer][rating.rater] = rating.score
        except DataError as error:
            raise SetupError(f"{where}: {error.message}") from None
    for key, shares in won.items():
        for rater in {each[0] for each in shares}:
            own = fmean(share for each, share in shares.items() if each[0] == rater)
            scored[key].setdefault(rater, 1 + 4 * own)
    return {key: fmean(each.values()) for key, each in scored.items()}


def _choose(row: dict[str, Any], won: dict[Key, dict[tuple[str, ...], float]]) -> None:
    answers, choice = row.get("answers"), row["choice"]
    if not isinstance(answers, list) or len(answers) != 2 or choice not in (*answers, None):
        raise DataError("bad_rating", "`choice` is neither null nor one of two `answers`")
    pair = (str(row.get("rater")), *sorted(map(str, answers)))
    for answer in answers:
        share = 0.5 if choice is None else float(answer == choice)
        won[str(row.get("prompt")), str(answer)][pair] = share
