"""The preference pairs of a round, as a version of the loop's dataset."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.alignment.judging import JudgedPrompt
from pipeline.alignment.recipe import AlignRecipe
from pipeline.build.run import build
from pipeline.config.recipe import Recipe
from pipeline.evaluation.answers.kept import CANDIDATES, RATINGS, write_whole
from pipeline.inputs.row_files import read_rows
from pipeline.planning.plan import make_plan
from pipeline.storage.uri import normalize_uri
from pipeline.versions.provenance import MADE_BY
from schemas.errors import DataError, SetupError
from schemas.manifest import Manifest
from stages.preferences.config import DEAF_PHRASES
from stages.preferences.contrast import Contrasts, RealAnswer
from stages.preferences.ratings import BEST, WORST, read_rating

CONTRASTS = "contrasts.jsonl"
RULES, CONTRAST = "rules", "contrast"
"""The raters that are no people."""


def write_candidates(recipe: AlignRecipe, judged: Sequence[JudgedPrompt], folder: Path) -> None:
    """Write the candidates and the ratings by rules of a round into its folder: the answers of each prompt,
    and for a share of prompts the best against one that claims not to have heard.

    Where people have rated an answer of a prompt, their ratings stand in for the rules.
    """
    people = rated_by_people(recipe)
    deaf = list(_deaf_rows(recipe, judged))
    ratings = [
        _rating(each.candidates["id"], answer, RULES, WORST + (BEST - WORST) * score)
        for each in judged
        for answer, score in each.scores.items()
        if not people & {(each.candidates["id"], other) for other in each.scores}
    ]
    ratings += [rating for _, both in deaf for rating in both]
    _write_rows(folder / CANDIDATES, [each.candidates for each in judged])
    _write_rows(folder / CONTRASTS, [row for row, _ in deaf])
    _write_rows(folder / RATINGS, ratings)


def build_pairs(recipe: AlignRecipe, model: Path, folder: Path, datasets: Path) -> Manifest:
    """Build a version of the pairs of a round, of the best and the worst answer of each prompt, in the ids of
    a model. Raises SetupError."""
    made_by = made_by_of(model)
    pairs = Recipe.model_validate(
        {
            "name": recipe.name,
            "output": normalize_uri(str(datasets)),
            **{name: made_by[name] for name in ("vocabulary", "tokenize", "interleave") if name in made_by},
            "preferences": {
                "candidates": [str(folder / CANDIDATES), str(folder / CONTRASTS)],
                "ratings": [str(folder / RATINGS), *recipe.ratings],
                "margin": recipe.margin,
            },
            "shard": {"validation_share": 0},
        }
    )
    return build(make_plan(pairs)).manifest


def made_by_of(model: Path) -> dict[str, Any]:
    """How the ids of a model were made. Raises SetupError if it doesn't say."""
    from stages.train.checkpoint import read_vocabulary

    described = read_vocabulary(model) or {}
    if MADE_BY not in described:
        raise SetupError(
            f"`checkpoint`: {model} doesn't say how its ids were made, so no pairs can be laid out for it: "
            "begin with a model of `aqaa-data train`"
        )
    made_by: dict[str, Any] = described[MADE_BY]
    return made_by


def _deaf_rows(
    recipe: AlignRecipe, judged: Sequence[JudgedPrompt]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Candidates of the best answer, if it is any good, and one that claims not to have heard, and their
    ratings."""
    for each in judged:
        row, best = each.candidates, each.best
        answer = next(answer for answer in row["answers"] if answer["id"] == best)
        real = RealAnswer(f"{row['id']} {best}", row["id"], row.get("language") or "", answer["text"], None)
        contrasts = Contrasts([real], DEAF_PHRASES)
        if each.scores[best] > 0 and contrasts.kinds_for(real, {"deaf": recipe.deaf}):
            phrase = contrasts.reject(real, "deaf").text
            id = f"{row['id']}-deaf"
            answers = [answer, {"id": "deaf", "text": phrase}]
            ratings = [_rating(id, best, CONTRAST, BEST), _rating(id, "deaf", CONTRAST, WORST)]
            yield row | {"id": id, "answers": answers, "contrast": "deaf"}, ratings


def rated_by_people(recipe: AlignRecipe) -> set[tuple[str, str]]:
    """(prompt, answer) of what people have rated. Raises SetupError for a row that is no rating."""
    rated: set[tuple[str, str]] = set()
    for where, value in read_rows(recipe.ratings):
        try:
            if isinstance(value, DataError):
                raise value
            rating = read_rating(value)
        except DataError as error:
            raise SetupError(f"`ratings`: {where}: {error.message}") from None
        rated |= {(rating.prompt, answer) for answer in rating.answers}
    return rated


def _rating(prompt: str, answer: str, rater: str, score: float) -> dict[str, Any]:
    return {"prompt": prompt, "answer": answer, "rater": rater, "score": round(score, 4)}


def _write_rows(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_whole(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
