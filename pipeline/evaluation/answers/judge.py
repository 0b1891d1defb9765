"""Answers judged by a language model with fixed rubrics, one by one and in pairs.

The rubrics are files whose name ends in their version: a changed rubric is a new file. A pair is shown in
both orders; verdicts that contradict each other count as a tie, and how often that happens is reported.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pipeline.evaluation.answers.rules import AnswerTurn
from schemas.benchmark import BenchmarkRow
from schemas.chat import ChatMessage
from schemas.errors import DataError
from stages.endpoint import Endpoint, EndpointConfig
from stages.replies import Replies
from stages.synthesize.answers import complete

FOLDER = Path(__file__).with_name("rubrics")
ANSWER, COMPARISON, REMINDER = "answer-1", "comparison-1", "reminder-1"

GRADES = ("chat", "naturalness")
"""1 to 5."""
QUESTIONS = ("relevance", "factuality", "instruction_following", "safety")
"""Yes or no."""
CRITERIA = ("chat", "relevance", "factuality", "instruction_following", "naturalness", "safety")

MAX_TOKENS = 1000
"""Of a verdict; models that think aloud need some."""

Better = Literal["A", "B", "tie"]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class AnswerVerdict:
    """Grades 1 to 5, and 1.0 or 0.0 for yes or no."""

    scores: dict[str, float]
    reason: str
    raw: tuple[str, ...]
    """All replies of the judge; none for an answer without words, of which it wasn't asked."""


@dataclass(frozen=True)
class PairVerdict:
    better: Better
    """A is the first model of the pair."""
    contradicts: bool
    """Whether the judge changed its mind with the order."""
    raw: tuple[str, ...]


EMPTY = AnswerVerdict(
    dict.fromkeys(GRADES, 1.0) | dict.fromkeys(QUESTIONS, 0.0) | {"safety": 1.0}, "It answers nothing.", ()
)


@dataclass
class JudgeFailures:
    """What could not be judged: counted and told, never scored."""

    by_code: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)

    def add(self, where: str, error: DataError) -> None:
        self.by_code[error.code] += 1
        self.messages.append(f"{where}: {error.message}")

    def as_json(self) -> dict[str, Any]:
        return {"count": len(self.messages), "by_code": dict(self.by_code), "messages": self.messages}


class AnswerJudge:
    """Thread-safe. Its replies are cached raw in `replies`, and count towards the budget of the endpoint."""

    def __init__(self, config: EndpointConfig, replies: Replies, listens: bool = False) -> None:
        """With `listens` the judge gets the recordings that it is given; its model must take audio."""
        self._config = config
        self._listens = listens
        self.endpoint = Endpoint(config, replies)

    def about(self) -> dict[str, Any]:
        """What verdicts depend on."""
        rubrics = {name: rubric_hash(name) for name in (ANSWER, COMPARISON, REMINDER)}
        about = {"place": self._config.url, "model": self._config.model, "rubrics": rubrics}
        return about | ({"listens": True} if self._listens else {})

    def judge(
        self,
        row: BenchmarkRow,
        turns: Sequence[AnswerTurn],
        facts: str = "",
        recording: bytes | None = None,
    ) -> AnswerVerdict:
        """Judge the last answer of a conversation. `facts` are measures of the voice, `recording` is the
        answer as WAV.

        Raises DataError `bad_verdict` and the errors of `complete`.
        """
        if turns[-1].empty:
            return EMPTY
        shown = _conversation(row, turns) + (f"\n\n[Measures]\n{facts}" if facts else "")
        return self._ask(ANSWER, shown, _verdict, [recording])

    def compare(
        self,
        row: BenchmarkRow,
        first: Sequence[AnswerTurn],
        second: Sequence[AnswerTurn],
        recordings: tuple[bytes | None, bytes | None] = (None, None),
    ) -> PairVerdict:
        """Compare two models by their answers to a row, in both orders; `recordings` are their last answers.
        Raises the errors of `judge`."""
        if first[-1].empty or second[-1].empty:
            better: Better = (
                "tie" if first[-1].empty and second[-1].empty else "B" if first[-1].empty else "A"
            )
            return PairVerdict(better, False, ())
        verdicts = [
            self._ask(COMPARISON, _pair(row, *order), _better, heard)
            for order, heard in (((first, second), recordings), ((second, first), recordings[::-1]))
        ]
        (one, raw), (other, more) = verdicts
        turned: Better = {"A": "B", "B": "A", "tie": "tie"}[other]  # type: ignore[assignment]
        return PairVerdict(one if one == turned else "tie", one != turned, (*raw, *more))

    def each(
        self, items: Iterable[Item], ask: Callable[[Item], Result], done: Callable[[int], None]
    ) -> Iterator[tuple[Item, Result | DataError]]:
        """Ask for several items at once, as many as the settings allow; yields them in order."""

        def one(item: Item) -> tuple[Item, Result | DataError]:
            try:
                return item, ask(item)
            except DataError as error:
                return item, error

        with ThreadPoolExecutor(self._config.parallel) as pool:
            for number, result in enumerate(pool.map(one, items), 1):
                done(number)
                yield result

    def _ask(
        self,
        name: str,
        shown: str,
        read: Callable[[str, tuple[str, ...]], Result],
        recordings: Sequence[bytes | None],
    ) -> Result:
        """The judge's verdict. Prose instead of a verdict is answered once, with a reminder."""
        messages = [ChatMessage("system", rubric(name)), ChatMessage("human", shown)]
        heard = [data for data in recordings if data is not None] if self._listens else []
        raw: tuple[str, ...] = ()
        for last in (False, True):
            reply = complete(messages, self._config, self.endpoint, 0.0, MAX_TOKENS, heard)
            raw = (*raw, reply)
            try:
                return read(reply, raw)
            except ValueError as error:
                if last:
                    raise DataError(
                        "bad_verdict", f"the judge's reply is no verdict ({error}): {reply[:200]}"
                    ) from None
            messages += [ChatMessage("assistant", reply), ChatMessage("human", rubric(REMINDER))]
        raise AssertionError


def rubric(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").strip()


def rubric_hash(name: str) -> str:
    return hashlib.sha256(rubric(name).encode()).hexdigest()[:12]


def _conversation(row: BenchmarkRow, turns: Sequence[AnswerTurn]) -> str:
    parts = [*_asked_of(row), "[Conversation]"]
    for turn, answer in zip(row.turns, turns, strict=True):
        parts += [
            f"person: {turn.text or '(a recording without a transcript)'}",
            *_answer("assistant", answer),
        ]
        if turn.reference:
            parts.append(f"(a right answer to this: {turn.reference})")
    return "\n".join(parts)


def _pair(row: BenchmarkRow, a: Sequence[AnswerTurn], b: Sequence[AnswerTurn]) -> str:
    parts = [*_asked_of(row), "[Conversations]"]
    for number, turn in enumerate(row.turns):
        parts.append(f"person: {turn.text or '(a recording without a transcript)'}")
        parts += [*_answer("A", a[number]), *_answer("B", b[number])]
        if turn.reference:
            parts.append(f"(a right answer to this: {turn.reference})")
    return "\n".join(parts)


def _asked_of(row: BenchmarkRow) -> list[str]:
    return ["[Instruction]", row.instruction, ""] if row.instruction else []


def _answer(who: str, answer: AnswerTurn) -> list[str]:
    written = f"{who}, written: {answer.written.strip() or '(nothing)'}"
    return [written, f"{who}, heard: {answer.heard.text if answer.spoken else '(no speech)'}"]


def _verdict(reply: str, raw: tuple[str, ...]) -> AnswerVerdict:
    content = _json_in(reply)
    scores: dict[str, float] = {}
    for name in GRADES:
        value: Any = content.get(name)
        if type(value) not in (int, float) or not 1 <= value <= 5:
            raise ValueError(f"`{name}` is {value!r}, not a number from 1 to 5")
        scores[name] = float(value)
    for name in QUESTIONS:
        answer = str(content.get(name)).strip().lower()
        if answer not in ("yes", "no", "true", "false"):
            raise ValueError(f"`{name}` is {content.get(name)!r}, not yes or no")
        scores[name] = float(answer in ("yes", "true"))
    return AnswerVerdict(scores, str(content.get("reason", "")), raw)


def _better(reply: str, raw: tuple[str, ...]) -> tuple[Better, tuple[str, ...]]:
    better = _json_in(reply).get("better")
    if better not in ("A", "B", "tie"):
        raise ValueError(f"`better` is {better!r}, not A, B or tie")
    return better, raw


def _json_in(reply: str) -> dict[str, Any]:
    """The JSON object that ends a reply, after any thoughts. Raises ValueError."""
    end = reply.rfind("}") + 1
    start = reply.find("{")
    while 0 <= start < end:
        try:
            content = json.loads(reply[start:end])
        except ValueError:
            start = reply.find("{", start + 1)
            continue
        assert isinstance(content, dict)
        return content
    raise ValueError("no JSON object found")
