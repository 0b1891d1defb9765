"""What raters are asked: to score one answer, or to choose between two.

The rows are those of `preferences.candidates` (`stages.preferences.candidates`). Three things are added: an
answer's `audio` may stand beside its `codes`, one answer is enough to be scored, and `gold` in an answer is
the score that it should get, which makes a rater's task a gold question.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from pipeline.inputs.row_files import read_rows
from schemas.chat import Chat, ChatMessage
from schemas.errors import DataError
from stages.preferences.candidates import check_ids, read_id, read_question
from stages.preferences.ratings import BEST, WORST, PairRating, Rating

AUDIO_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".webm": "audio/webm",
}
"""Ending of a file that browsers play -> its media type."""
GOLD_TOLERANCE = 1.0
"""A score this far from that of a gold question is still right."""


@dataclass(frozen=True)
class RatedAnswer:
    id: str
    text: str
    """Empty for an answer that is audio alone."""
    audio: Path | None
    unheard: bool
    """It has codes, but no audio."""
    gold: float | None


@dataclass(frozen=True)
class RatingTask:
    prompt: str
    chat: Chat
    """Ends with the question."""
    question: Path | None
    """Audio of the question."""
    answers: tuple[RatedAnswer, ...]
    """One to score, or two to choose between, sorted by id."""

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        return self.chat.messages

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(answer.id for answer in self.answers)

    @cached_property
    def key(self) -> str:
        """Names the task, among those of all files."""
        return json.dumps([self.prompt, *self.ids])

    @property
    def is_gold(self) -> bool:
        golds = [answer.gold for answer in self.answers]
        return None not in golds and (len(golds) == 1 or golds[0] != golds[1])

    def is_right(self, rating: Rating | PairRating) -> bool:
        """Whether the rating of a gold question is as it should be."""
        golds = {answer.id: answer.gold or 0.0 for answer in self.answers}
        if isinstance(rating, Rating):
            return abs(rating.score - golds[rating.answer]) <= GOLD_TOLERANCE
        return rating.choice is not None and golds[rating.choice] == max(golds.values())


@dataclass(frozen=True)
class UnusedRow:
    where: str
    """File and line."""
    error: DataError


def read_tasks(files: Sequence[Path], choose: bool) -> tuple[list[RatingTask], list[UnusedRow]]:
    """The tasks of all rows, each pair of a prompt's answers if raters choose, and the rows of no use.

    Raises SetupError for a file that doesn't exist.
    """
    tasks: list[RatingTask] = []
    unused: list[UnusedRow] = []
    seen: set[str] = set()
    for file in files:
        folder = file.resolve().parent
        for row in read_rows([str(file)]):
            try:
                if isinstance(row.value, DataError):
                    raise row.value
                of_row = list(_tasks(row.value, row.where, folder, 2 if choose else 1))
                prompt = of_row[0].prompt
                if prompt in seen:
                    raise DataError("prompt_twice", f"a row before has the id {prompt} too")
            except DataError as error:
                unused.append(UnusedRow(row.where, error))
                continue
            seen.add(prompt)
            tasks += of_row
    return tasks, unused


def _tasks(row: Any, where: str, folder: Path, at_a_time: int) -> Iterator[RatingTask]:
    """Never empty. Raises DataError."""
    chat = read_question(row, where)
    prompt, question = read_id(row, "the prompt"), _audio(row, folder, "the question")
    rows = row.get("answers")
    if not isinstance(rows, list) or len(rows) < at_a_time:
        raise DataError("bad_candidates", f"`answers` is not a list of {at_a_time} or more")
    answers = sorted((_answer(answer, folder) for answer in rows), key=lambda answer: answer.id)
    check_ids([answer.id for answer in answers])
    for shown in combinations(answers, at_a_time):
        yield RatingTask(prompt, chat, question, shown)


def _answer(row: Any, folder: Path) -> RatedAnswer:
    if not isinstance(row, dict):
        raise DataError("bad_candidates", "an answer is no object")
    id = read_id(row, "an answer")
    text, gold = row.get("text"), row.get("gold")
    audio = _audio(row, folder, f"answer {id}")
    text = text.strip() if isinstance(text, str) else ""
    if not text and audio is None:
        raise DataError("bad_candidates", f"answer {id} has neither `text` nor `audio`")
    if gold is not None and (type(gold) not in (int, float) or not WORST <= gold <= BEST):
        raise DataError("bad_candidates", f"`gold` of answer {id} is {gold!r}, not a number from 1 to 5")
    return RatedAnswer(id, text, audio, audio is None and row.get("codes") is not None, gold)


def _audio(row: dict[str, Any], folder: Path, owner: str) -> Path | None:
    """The file that `audio` names, which is in the folder of the rows, links followed. Raises DataError."""
    name = row.get("audio")
    if name is None:
        return None
    if not isinstance(name, str) or not name or "\0" in name:
        raise DataError("bad_candidates", f"`audio` of {owner} is not the name of a file")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise DataError("audio_outside", f"the audio of {owner}, {name}, is not in the folder of the rows")
    if not path.is_file():
        raise DataError("missing_audio", f"the audio of {owner}, {name}, is not beside the rows")
    if path.suffix.lower() not in AUDIO_TYPES:
        endings = ", ".join(AUDIO_TYPES)
        raise DataError("audio_type", f"browsers can't play the audio of {owner}, {name}: use {endings}")
    return path
