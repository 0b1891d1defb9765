"""Ways to ask for a way to speak: templates of a file, whose slots combine to many phrasings.

A line of the file is `name: alternative | alternative`; lines of one name add up. `{name}` stands for any of
the alternatives of `name`, or of `slow.name` where slow speech is asked for.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.errors import SetupError
from schemas.hashing import hash_fraction
from stages.synthesize.talk.draws import Draws

Form = Literal["with", "again", "change"]
"""Together with the question; after an answer, to have it said again; together with the question, for an
answer in several parts, each in a style."""

_QUESTION = ("question", "request")
"""Slots for the question: as it is, or without the mark at its end."""
_LATER: dict[str, tuple[str, ...]] = {"with": _QUESTION, "again": (), "change": (*_QUESTION, "parts")}
"""What asks -> its slots that are filled when the phrasing is used."""

HELD_OUT_SHARE = 0.1
TRIES = 1000
"""Draws until a style counts as one without a phrasing that fits."""

_SLOT = re.compile(r"\{([^{}]*)\}")
_LINE = re.compile(r"([\w.]+)\s*:(.*)")


@dataclass(frozen=True)
class _Alternative:
    text: str
    line: int


class AskingTemplates:
    """The phrasings of one language."""

    def __init__(self, text: str, where: str) -> None:
        """`text` is a file's; `where` names it in messages.

        Raises SetupError for a line, a slot or a style that isn't complete, with its line and what to do.
        """
        self.text = text
        self._where = where
        self._alternatives: dict[str, list[_Alternative]] = {}
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip() and not line.startswith("#"):
                self._read(line.strip(), number)
        named = [name.split(".") for name in self._alternatives if "." in name]
        self.styles = frozenset(style for style, _ in named)
        self._style_slots = frozenset(slot for _, slot in named)
        self._check()

    def phrasings(self, form: Form, style: str) -> Iterator[str]:
        """All phrasings that ask for a style, with a slot for the question; not of the form `change`."""
        yield from self._expanded(f"{{{form}}}", style)

    def drawn(
        self, draws: Draws, form: Form, styles: Sequence[str], question: str, held_out: bool
    ) -> tuple[str, str] | None:
        """A phrasing for some styles, and the question with it: one of those that are held out, or of the
        others. None if there is none. Only `change` asks for more than one style."""
        for _ in range(TRIES):
            phrasing = self._filled(draws, f"{{{form}}}", styles[0])
            if form == "change":
                parts = self._filled(draws, "{first}", styles[0])
                parts += "".join(self._filled(draws, "{then}", style) for style in styles[1:])
                phrasing = phrasing.replace("{parts}", parts)
            if is_held_out(phrasing) == held_out and ("{request}" not in phrasing or _is_request(question)):
                if "{request}" in phrasing:
                    return phrasing, phrasing.replace("{request}", question.rstrip(".。"))
                return phrasing, phrasing.replace("{question}", question)
        return None

    def _read(self, line: str, number: int) -> None:
        found = _LINE.fullmatch(line)
        if found is None or found[1].count(".") > 1:
            raise self._error(number, f"{line[:40]!r} is no `name: alternative | alternative`")
        for text in map(str.strip, found[2].split("|")):
            if re.search(r"[{}]", _SLOT.sub("", text)):
                raise self._error(
                    number, f"{text!r} has a brace without its other one: write slots as {{name}}"
                )
            self._alternatives.setdefault(found[1], []).append(_Alternative(text, number))

    def _check(self) -> None:
        for name in (*_LATER, "first", "then"):
            if name not in self._alternatives:
                raise SetupError(f"{self._where} has no line `{name}: ..`: add one")
            for style in sorted(self.styles):
                self._check_slots(name, style, ())
        for form, later in _LATER.items():
            for alternative in self._alternatives[form]:
                slots = _SLOT.findall(alternative.text)
                if later and sum(slot in _QUESTION for slot in slots) != 1:
                    told = f"{alternative.text!r} needs either {{question}} or {{request}}, once"
                    raise self._error(alternative.line, told)
                if form == "change" and "parts" not in slots:
                    raise self._error(alternative.line, f"{alternative.text!r} needs {{parts}}")

    def _check_slots(self, name: str, style: str, inside: tuple[str, ...]) -> None:
        """Raises SetupError for a slot without alternatives in what stands for `name`, which stands `inside`
        others."""
        for alternative in self._of(name, style):
            for slot in _SLOT.findall(alternative.text):
                if slot in _LATER["change"]:
                    fits = slot in _LATER.get(name, ())
                    told = None if fits else f"{{{slot}}} can't stand in `{name}`: take it out"
                elif slot in (*inside, name):
                    told = f"{{{slot}}} stands within itself: take it out"
                elif self._of(slot, style):
                    self._check_slots(slot, style, (*inside, name))
                    told = None
                elif slot in self._style_slots:
                    told = f"{{{slot}}} has no wording for the style {style}: add a line `{style}.{slot}: ..`"
                else:
                    known = {name for name in self._alternatives if "." not in name} - _LATER.keys()
                    slots = ", ".join(f"{{{each}}}" for each in sorted(known | self._style_slots))
                    told = f"unknown slot {{{slot}}}: add a line `{slot}: ..`, or write one of {slots}"
                if told:
                    raise self._error(alternative.line, told)

    def _of(self, name: str, style: str) -> list[_Alternative]:
        return self._alternatives.get(f"{style}.{name}") or self._alternatives.get(name) or []

    def _expanded(self, text: str, style: str) -> Iterator[str]:
        slot = _open_slot(text)
        if slot is None:
            yield text
            return
        for alternative in self._of(slot[1], style):
            yield from self._expanded(text[: slot.start()] + alternative.text + text[slot.end() :], style)

    def _filled(self, draws: Draws, text: str, style: str) -> str:
        while slot := _open_slot(text):
            text = text[: slot.start()] + draws.one(self._of(slot[1], style)).text + text[slot.end() :]
        return text

    def _error(self, line: int, told: str) -> SetupError:
        return SetupError(f"{self._where}:{line}: {told}")


def is_held_out(phrasing: str) -> bool:
    """Whether a phrasing is kept for evaluation: the same in every recipe."""
    return hash_fraction(f"asking, held out: {phrasing}") < HELD_OUT_SHARE


def _open_slot(text: str) -> re.Match[str] | None:
    """The first slot that isn't filled later."""
    return next((slot for slot in _SLOT.finditer(text) if slot[1] not in _LATER["change"]), None)


def _is_request(question: str) -> bool:
    """Whether something can follow the question in its own sentence."""
    return question.rstrip().endswith((".", "。"))
