"""Scores by people: `ratings.jsonl` in an evaluation's folder, as `rate` writes it.

`prompt` is the id of a row, and answers are named by their model; the forms are those of
`preferences.ratings`.
"""

from pathlib import Path
from statistics import fmean

from pipeline.inputs.row_files import read_rows
from schemas.errors import DataError, SetupError
from stages.preferences.ratings import Ratings, read_rating


def scores_of_people(file: Path) -> dict[tuple[str, str], float]:
    """(row, model) -> mean score of the raters, 1 to 5. Raises SetupError for a row that is no rating, or
    rates the same a second time without `at`."""
    if not file.exists():
        return {}
    ratings = Ratings()
    prompts = set()
    for where, value in read_rows([str(file)]):
        try:
            if isinstance(value, DataError):
                raise value
            rating = read_rating(value)
            ratings.add(rating)
        except DataError as error:
            raise SetupError(f"{where}: {error.message}") from None
        prompts.add(rating.prompt)
    return {
        (prompt, answer): fmean(by_rater.values())
        for prompt in sorted(prompts)
        for answer, by_rater in ratings.scores(prompt).items()
    }
