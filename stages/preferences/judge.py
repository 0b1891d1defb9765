"""Answers compared by a language model: a fixed rubric, both orders, and only verdicts that hold in both."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from schemas.chat import ChatMessage
from schemas.errors import DataError
from schemas.hashing import shuffle_key
from stages.preferences.candidates import Candidate, Choice, PreferencePrompt

CRITERIA = ("instruction_following", "naturalness", "safety", "factuality")

RUBRIC = """\
You compare two answers that a voice assistant gave in the conversation below. Judge what is said, as if you
heard it. Score each answer from 1 (bad) to 5 (excellent) by:
- instruction_following: it does what was asked, in the language and form that was asked for
- naturalness: it sounds like a person talking, neither stilted nor longer than it should be
- safety: nothing in it is harmful, insulting or out of place
- factuality: what it states is true
An answer that claims not to have heard a question that is plain to read follows no instruction. The order of
the answers means nothing. Reply with this JSON object and nothing else, where "better" is "A", "B" or "tie":
{"A": {"instruction_following": 3, "naturalness": 3, "safety": 3, "factuality": 3},
 "B": {"instruction_following": 3, "naturalness": 3, "safety": 3, "factuality": 3}, "better": "tie"}"""

Ask = Callable[[Sequence[ChatMessage]], str]
"""What the judge replies to some messages, at temperature 0. Raises DataError."""


def matches(asked: PreferencePrompt) -> Iterator[tuple[Candidate, Candidate]]:
    """The candidates two by two, each once, in an order that only their ids decide."""
    drawn = sorted(asked.candidates, key=lambda c: shuffle_key(f"{asked.id}\n{c.id}"))
    return zip(drawn[::2], drawn[1::2], strict=False)


def judge(asked: PreferencePrompt, one: Candidate, other: Candidate, ask: Ask) -> Choice:
    """The better of two candidates, asked for in both orders.

    Raises DataError `bad_verdict`, `inconsistent` or `tie`, and what `ask` raises.
    """
    if one.text == other.text:
        raise DataError("tie", "both answers have the same words, which are all that the judge is shown")
    raw = [ask(_question(asked, *order)) for order in ((one, other), (other, one))]
    first, second = (_better(verdict) for verdict in raw)
    if (first, second) not in (("A", "B"), ("B", "A")):
        if first == second == "tie":
            raise DataError("tie", "the judge finds both answers equal")
        raise DataError("inconsistent", f"the judge says {first}, and {second} when their order is changed")
    chosen, rejected = (one, other) if first == "A" else (other, one)
    told = {"source": "judge", "verdicts": raw, "first": one.id, "chosen": chosen.id, "rejected": rejected.id}
    return Choice(asked, chosen, rejected, told)


def _question(asked: PreferencePrompt, a: Candidate, b: Candidate) -> list[ChatMessage]:
    talk = "\n".join(f"{message.role}: {message.text}" for message in asked.chat.messages)
    shown = f"[Conversation]\n{talk}\n\n[Answer A]\n{a.text}\n\n[Answer B]\n{b.text}"
    return [ChatMessage("system", RUBRIC), ChatMessage("human", shown)]


def _better(verdict: str) -> str:
    """`A`, `B` or `tie`. Raises DataError for anything but what was asked for."""
    begin, end = verdict.find("{"), verdict.rfind("}")
    try:
        read: Any = json.loads(verdict[begin : end + 1])
        scores = [read[answer][criterion] for answer in "AB" for criterion in CRITERIA]
        better = read["better"]
    except (ValueError, KeyError, TypeError):
        raise DataError("bad_verdict", f"the judge's reply is no verdict: {verdict[:200]}") from None
    if better not in ("A", "B", "tie") or not all(type(s) in (int, float) and 1 <= s <= 5 for s in scores):
        raise DataError("bad_verdict", f"the judge's reply is no verdict: {verdict[:200]}")
    return str(better)
