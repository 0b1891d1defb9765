"""Dialogues of one to four exchanges: to train on, and to judge by, with questions that are held out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from schemas.hashing import hash_fraction
from stages.synthesize.talk import memory, questions, sayings, small_talk
from stages.synthesize.talk.draws import Draws
from stages.synthesize.talk.exchange import Exchange

HELD_OUT_SHARE = 0.1
LENGTHS = {"1": 0.4, "2": 0.3, "3": 0.18, "4": 0.12}
"""Number of exchanges -> how often."""

OPENING: dict[str, tuple[float, Callable[[Draws], Exchange]]] = {
    "sum": (10, questions.sums),
    "difference": (10, questions.differences),
    "neighbour": (6, questions.neighbours),
    "calendar": (6, questions.calendar),
    "month": (3, questions.month_lengths),
    "how many": (3, questions.counted),
    "opposite": (7, questions.opposites),
    "color": (6, questions.colors),
    "spelling": (10, questions.spellings),
    "letters": (3, questions.letters_in),
    "comparison": (6, questions.comparisons),
    "count": (5, questions.counts),
    "repeat": (9, sayings.repeats),
    "say in a style": (8, sayings.styled),
    "small talk": (7, small_talk.small_talk),
    "cannot know": (5, small_talk.cannot_know),
    "told": (3, memory.told),
}
"""Family whose questions need nothing before them -> (how often, what makes an exchange)."""

FOLLOWING: dict[str, tuple[float, Callable[[Draws, Exchange], Exchange | None]]] = {
    "again": (6, sayings.again),
    "again in a style": (24, sayings.again_styled),
    "carry on": (12, memory.carried_on),
    "last question": (6, memory.last_question),
    "recall": (12, memory.recalled),
}
"""The same of families whose questions are about the exchange before; `recall` is about any before."""

FAMILIES = (*OPENING, *FOLLOWING)

TRIES = 100
"""Draws that fail, one after another, until something is given up."""


@dataclass(frozen=True)
class TalkDialogue:
    exchanges: tuple[Exchange, ...]

    def row(self) -> dict[str, Any]:
        """A row for `synthesize.conversations`, with what is needed to judge its last answer."""
        last = self.exchanges[-1]
        texts = [text for each in self.exchanges for text in (each.question, each.answer)]
        roles = ("user", "assistant")
        return {
            "messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)],
            "language": "en",
            "licence": "CC0-1.0",
            "family": last.family,
            "unit": last.unit,
            "right": list(last.right),
            **({"answer_style": last.style} if last.style else {}),
        }


def is_held_out(unit: str) -> bool:
    """Whether questions of this unit are only asked for judging: the same for every seed and count."""
    return hash_fraction(f"talk, held out: {unit}") < HELD_OUT_SHARE


def training_dialogues(number: int, seed: int = 0) -> Iterator[TalkDialogue]:
    """Dialogues in which nothing is held out; no two are the same up to their last answer."""
    seen: set[tuple[str, ...]] = set()
    for key in count():
        if len(seen) == number:
            return
        draws = Draws(f"talk, training: {seed} {key}")
        length = int(draws.weighted(LENGTHS))
        dialogue = _dialogue(draws, length, _drawn_family(draws, length), held_out=False)
        if dialogue is None:
            continue
        said = tuple(text for each in dialogue.exchanges for text in (each.question, each.answer))[:-1]
        if said not in seen:
            seen.add(said)
            yield dialogue


def judging_dialogues(number: int, seed: int = 0) -> Iterator[TalkDialogue]:
    """Dialogues whose last question is held out, and asked only once, of all families in turn.

    A family that has no more questions leaves its turns to the others.
    """
    seen: set[tuple[str, ...]] = set()
    left = list(FAMILIES)
    for turn in count():
        for family in tuple(left):
            if len(seen) == number:
                return
            dialogue = _new_judging_dialogue(f"talk, judging: {seed} {family} {turn}", family, seen)
            if dialogue is None:
                left.remove(family)
            else:
                yield dialogue
        if not left:
            return


def _new_judging_dialogue(key: str, family: str, seen: set[tuple[str, ...]]) -> TalkDialogue | None:
    """None if no dialogue of the family was found that asks something new."""
    for attempt in range(TRIES):
        draws = Draws(f"{key} {attempt}")
        dialogue = _dialogue(draws, int(draws.weighted(LENGTHS)), family, held_out=True)
        if dialogue is None:
            continue
        asked = dialogue.exchanges[-2 if family in FOLLOWING else -1 :]
        said = tuple(text for each in asked for text in (each.core, each.answer))[:-1]
        if said not in seen:
            seen.add(said)
            return dialogue
    return None


def _drawn_family(draws: Draws, length: int) -> str:
    weights = {name: weight for name, (weight, _) in OPENING.items()}
    if length > 1:
        weights |= {name: weight for name, (weight, _) in FOLLOWING.items()}
    return draws.weighted(weights)


def _dialogue(draws: Draws, length: int, family: str, held_out: bool) -> TalkDialogue | None:
    """A dialogue that ends with a question of a family, all others not held out; None if there is none."""
    if family in FOLLOWING:
        length = max(2, length)
    told_at = draws.integer(0, length - 2) if family == "recall" else None
    exchanges: list[Exchange] = []
    for index in range(length - 1):
        name = "told" if index == told_at else _drawn_family(draws, 1 if index == 0 else 2)
        wanted = held_out and index == told_at  # what is recalled was told in this dialogue
        found = _exchange(draws, name, exchanges, wanted)
        if found is None:
            return None
        exchanges.append(found)
    if told_at is not None and held_out:
        told = exchanges[told_at]
        changed = any(_is_about(told, later) for later in exchanges[told_at + 1 :])
        return None if changed else _ended(exchanges, memory.recalled(draws, told))
    return _ended(exchanges, _exchange(draws, family, exchanges, held_out))


def _is_about(told: Exchange, later: Exchange) -> bool:
    """Whether `later` tells anew what was told: another favorite color."""
    return bool(told.remembered and later.remembered and told.remembered[0] == later.remembered[0])


def _ended(exchanges: list[Exchange], last: Exchange | None) -> TalkDialogue | None:
    return TalkDialogue((*exchanges, last)) if last else None


def _exchange(draws: Draws, family: str, before: list[Exchange], held_out: bool) -> Exchange | None:
    """An exchange that is, or is not, held out; None if none was found."""
    for _ in range(TRIES):
        found = _any_exchange(draws, family, before)
        if found is None:
            return None
        if is_held_out(found.unit) == held_out:
            return found
    return None


def _any_exchange(draws: Draws, family: str, before: list[Exchange]) -> Exchange | None:
    if family in OPENING:
        return OPENING[family][1](draws)
    last: Exchange | None = before[-1]
    if family == "recall":
        last = next((each for each in reversed(before) if each.remembered), None)
    elif last is not None and last.style:  # nothing is said again louder that was said loudly
        last = None
    return FOLLOWING[family][1](draws, last) if last else None
