"""Answers compared by a language model with a fixed rubric.

A pair of answers is judged in both orders; it counts only if the verdicts agree.
"""

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
"""Returns the reply of the judge to some messages, at temperature 0. Raises DataError."""


def matches(prompt: PreferencePrompt) -> Iterator[tuple[Candidate, Candidate]]:
    """Pairs of candidates to compare. Each candidate is in at most one; the order depends only on ids."""
    shuffled = sorted(prompt.candidates, key=lambda c: shuffle_key(f"{prompt.id}\n{c.id}"))
    return zip(shuffled[::2], shuffled[1::2], strict=False)


def judge(prompt: PreferencePrompt, one: Candidate, other: Candidate, ask: Ask) -> Choice:
    """The better of two candidates. The judge is shown them in both orders.

    Raises DataError `bad_verdict`, `inconsistent` or `tie`, and the errors of `ask`.
    """
    if one.text == other.text:
        raise DataError("tie", "both answers have the same words, which are all that the judge is shown")
    replies = [ask(_question(prompt, *order)) for order in ((one, other), (other, one))]
    first, second = (_better(verdict) for verdict in replies)
    if (first, second) not in (("A", "B"), ("B", "A")):
        if first == second == "tie":
            raise DataError("tie", "the judge finds both answers equal")
        raise DataError("inconsistent", f"the judge says {first}, and {second} when their order is changed")
    chosen, rejected = (one, other) if first == "A" else (other, one)
    provenance = {
        "source": "judge",
        "verdicts": replies,
        "first": one.id,
        "chosen": chosen.id,
        "rejected": rejected.id,
    }
    return Choice(prompt, chosen, rejected, provenance)


def _question(prompt: PreferencePrompt, a: Candidate, b: Candidate) -> list[ChatMessage]:
    conversation = "\n".join(f"{message.role}: {message.text}" for message in prompt.chat.messages)
    answers = f"[Conversation]\n{conversation}\n\n[Answer A]\n{a.text}\n\n[Answer B]\n{b.text}"
    return [ChatMessage("system", RUBRIC), ChatMessage("human", answers)]


def _better(verdict: str) -> str:
    """`A`, `B` or `tie`. Raises DataError `bad_verdict` if the reply does not follow the rubric."""
    begin, end = verdict.find("{"), verdict.rfind("}")
    try:
        parsed: Any = json.loads(verdict[begin : end + 1])
        scores = [parsed[answer][criterion] for answer in "AB" for criterion in CRITERIA]
        better = parsed["better"]
    except (ValueError, KeyError, TypeError):
        raise DataError("bad_verdict", f"the judge's reply is no verdict: {verdict[:200]}") from None
    if better not in ("A", "B", "tie") or not all(type(s) in (int, float) and 1 <= s <= 5 for s in scores):
        raise DataError("bad_verdict", f"the judge's reply is no verdict: {verdict[:200]}")
    return str(better)
