"""What raters see and what they said: orders, ratings, gold questions and agreement."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.inputs.row_files import read_rows
from pipeline.rating.tasks import RatedAnswer, RatingTask, UnusedRow
from pipeline.storage.saved_rows import SavedRows
from schemas.errors import DataError
from schemas.hashing import hash_integer, shuffle_key
from stages.preferences.agreement import Metric, alpha
from stages.preferences.ratings import PairRating, Rating, Ratings, read_rating

LONGEST_REASON = 4000
"""Characters."""


class Verdict(BaseModel):
    """What a rater says about a task: a score of its one answer, or a choice between its two."""

    model_config = ConfigDict(extra="forbid", strict=True)

    score: int | None = Field(None, ge=1, le=5)
    choice: Literal["first", "second", "neither"] | None = None
    """Of the two answers as the rater sees them."""
    reason: str = Field("", max_length=LONGEST_REASON)


class RatingSession:
    """The tasks with the ratings so far. Several threads may use it."""

    def __init__(self, tasks: Sequence[RatingTask], raters: Sequence[str], file: SavedRows) -> None:
        self._tasks, self._raters, self._file = tasks, raters, file
        self._choose = len(tasks[0].answers) == 2
        self._orders = {rater: _shuffled(tasks, rater) for rater in raters}
        self._ratings = Ratings()
        self._lock = Lock()
        self.unused: list[UnusedRow] = []
        """Rows of the file that are no ratings."""
        for row in read_rows([str(file.path)]):
            try:
                if isinstance(row.value, DataError):
                    raise row.value
                self._ratings.add(read_rating(row.value))
            except DataError as error:
                self.unused.append(UnusedRow(row.where, error))

    def state(self, rater: str) -> dict[str, Any]:
        """A rater's tasks in their order, and those that are done."""
        with self._lock:
            done = [id for id, task in self._orders[rater].items() if self._rating(task, rater)]
        mode = "choose" if self._choose else "score"
        return {"rater": rater, "mode": mode, "tasks": list(self._orders[rater]), "done": done}

    def shown(self, rater: str, id: str) -> dict[str, Any]:
        """A task as a rater sees it, with the rater's rating: no ids, no names of files. Raises KeyError."""
        task = self._orders[rater][id]
        answers = _as_seen(task, rater)
        with self._lock:
            rating = self._rating(task, rater)
        return {
            "messages": [{"role": message.role, "text": message.text} for message in task.messages],
            "language": str(task.chat.fields.get("language") or ""),
            "question": task.question is not None,
            "answers": [{"text": answer.text, "audio": answer.audio is not None} for answer in answers],
            "rating": rating and _verdict(rating, answers).model_dump(),
        }

    def audio(self, rater: str, id: str, part: str) -> Path | None:
        """The file of a part of a task, `question`, `0` or `1`; None if it has none. Raises KeyError."""
        task = self._orders[rater][id]
        answers = dict(zip("01", _as_seen(task, rater), strict=False))
        path = task.question if part == "question" else answers[part].audio
        # A file that has become a link since the start might lead anywhere.
        return path if path is not None and path.is_file() and path.resolve() == path else None

    def save(self, rater: str, id: str, verdict: Verdict) -> None:
        """Keep a rating in place of the rater's earlier one. Raises KeyError, DataError `bad_rating` for a
        verdict of the other kind, and OSError if it can't be written."""
        task = self._orders[rater][id]
        row = {"prompt": task.prompt, **self._said(task, rater, verdict), "rater": rater}
        if verdict.reason.strip():
            row["reason"] = verdict.reason.strip()
        with self._lock:
            earlier = self._rating(task, rater)
            now = datetime.now(UTC)
            # The later time wins, whatever the clock has done in between.
            row["at"] = (max(now, earlier.at) if earlier and earlier.at else now).isoformat()
            self._file.append(row)
            self._ratings.add(read_rating(row))

    def _said(self, task: RatingTask, rater: str, verdict: Verdict) -> dict[str, Any]:
        if self._choose and verdict.choice is not None and verdict.score is None:
            sides = dict(zip(("first", "second"), _as_seen(task, rater), strict=True))
            better = sides.get(verdict.choice)
            return {"answers": list(task.ids), "choice": better and better.id}
        if not self._choose and verdict.score is not None and verdict.choice is None:
            return {"answer": task.ids[0], "score": verdict.score}
        expected = "`choice`, first, second or neither" if self._choose else "`score`, from 1 to 5"
        raise DataError("bad_rating", f"this task takes a {expected}")

    def overview(self) -> dict[str, Any]:
        """How far each rater is, the share of gold questions each has right, and the agreement of all.

        Gold questions are left out of the agreement: they are chosen to be easy.
        """
        metric: Metric = "nominal" if self._choose else "ordinal"
        with self._lock:
            found = [(task, dict(self._ratings.of(task.prompt, task.ids))) for task in self._tasks]
        raters = dict.fromkeys([*self._raters, *(rater for _, ratings in found for rater in ratings)])
        units = [list(map(_value, ratings.values())) for task, ratings in found if not task.is_gold]
        return {
            "tasks": len(self._tasks),
            "raters": [self._progress(rater, found) for rater in raters],
            "agreement": alpha(units, metric),
            "metric": metric,
            "rated_by_several": sum(len(unit) > 1 for unit in units),
        }

    def _progress(
        self, rater: str, found: Sequence[tuple[RatingTask, dict[str, Rating | PairRating]]]
    ) -> dict[str, Any]:
        own = [(task, ratings[rater]) for task, ratings in found if rater in ratings]
        right = [task.is_right(rating) for task, rating in own if task.is_gold]
        return {"rater": rater, "rated": len(own), "gold": len(right), "gold_right": sum(right)}

    def _rating(self, task: RatingTask, rater: str) -> Rating | PairRating | None:
        return self._ratings.of(task.prompt, task.ids).get(rater)


def _shuffled(tasks: Sequence[RatingTask], rater: str) -> dict[str, RatingTask]:
    """The tasks in the rater's order, by ids that tell nothing; the order of two never depends on others."""
    by_id = {shuffle_key(f"{rater} {task.key}")[:20]: task for task in tasks}
    return dict(sorted(by_id.items()))


def _as_seen(task: RatingTask, rater: str) -> tuple[RatedAnswer, ...]:
    """The answers in the order in which a rater sees them, drawn for each rater and task."""
    return task.answers[::-1] if hash_integer(f"sides {rater} {task.key}") % 2 else task.answers


def _value(rating: Rating | PairRating) -> float:
    return rating.score if isinstance(rating, Rating) else rating.side


def _verdict(rating: Rating | PairRating, answers: Sequence[RatedAnswer]) -> Verdict:
    if isinstance(rating, Rating):
        return Verdict(score=round(rating.score), reason=rating.reason[:LONGEST_REASON])
    ids = [answer.id for answer in answers]
    sides: tuple[Literal["first", "second"], ...] = ("first", "second")
    choice = "neither" if rating.choice is None else sides[ids.index(rating.choice)]
    return Verdict(choice=choice, reason=rating.reason[:LONGEST_REASON])
