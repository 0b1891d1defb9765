"""Scores by people: `ratings.jsonl` in an evaluation's folder, as `preferences.ratings` reads it.

`prompt` is the id of a row, and `answer` the name of a model.
"""

from pathlib import Path
from statistics import fmean

from pipeline.inputs.row_files import read_rows
from schemas.errors import DataError, SetupError
from stages.preferences.ratings import read_rating


def scores_of_people(file: Path) -> dict[tuple[str, str], float]:
    """(row, model) -> mean score of the raters, 1 to 5. Raises SetupError for a row that is no rating."""
    if not file.exists():
        return {}
    scores: dict[tuple[str, str], dict[str, float]] = {}
    for where, value in read_rows([str(file)]):
        try:
            if isinstance(value, DataError):
                raise value
            rating = read_rating(value)
        except DataError as error:
            raise SetupError(f"{where}: {error.message}") from None
        scores.setdefault((rating.prompt, rating.answer), {})[rating.rater] = rating.score
    return {key: fmean(each.values()) for key, each in scores.items()}
