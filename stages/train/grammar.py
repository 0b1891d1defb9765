"""Which ids may follow in an answer, by the layout that it was trained on (`schemas.layout`).

interleaved n:m   n text ids, m codes, n text ids, .. until one side ends; what is left of the other follows
text_first        text, then the voices
audio_only        voices
text_only         text

A voice is `<audio_start>`, whole groups of 2 linguistic and 3 semantic codes, `<audio_end>`. Markers are not
counted: the first stands directly before a code, the second directly behind one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from schemas.layout import LINGUISTIC_PER_GROUP, SEMANTIC_PER_GROUP
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, Vocabulary
from stages.train.spelling import Numbers, Spelling

Mode = Literal["interleaved", "text_first", "audio_only", "text_only"]


@dataclass(frozen=True)
class Form:
    """How text and speech of an answer stand to each other; as a recipe's `interleave` says it."""

    mode: Mode = "interleaved"
    ratio: tuple[int, int] = (10, 15)
    restarts: bool = False
    """Of several voices each is interleaved with a text of its own (`pre_interleaved`)."""

    def __post_init__(self) -> None:
        if min(self.ratio) < 1:
            raise ValueError(f"a ratio is two numbers of at least 1, not {self.ratio[0]}:{self.ratio[1]}")


class Grammar:
    """An answer as it comes: `allowed` ids, one of which is then to be given to `take`.

    A turn is a run of text ids or of codes, as the ratio counts them. Sides end as soon as the ids leave no
    other way to read them: a text that stops within its turn has ended.
    """

    def __init__(self, vocabulary: Vocabulary, spelling: Spelling, form: Form) -> None:
        self._v = vocabulary
        self._spelling = spelling
        self._restarts = form.restarts and form.mode == "interleaved"
        ratio: tuple[float, float] = form.ratio if form.mode == "interleaved" else (inf, inf)
        self._most_text, self._most_codes = ratio
        self._text_ended = form.mode == "audio_only"
        self._audio_ended = form.mode == "text_only"
        self._turn: Literal["text", "audio"] = "audio" if self._text_ended else "text"
        self._taken = 0
        """Ids of this turn, without markers."""
        self._half = b""
        """What there is of an unfinished character."""
        self._in_voice = False
        self._voices = 0
        """Voices begun."""
        self._codes = 0
        """Of this voice."""
        self._closing = False
        self.ended = False
        group = [self._range(vocabulary.linguistic, LINGUISTIC_CODES)] * LINGUISTIC_PER_GROUP
        self._group = [*group, *[self._range(vocabulary.semantic, SEMANTIC_CODES)] * SEMANTIC_PER_GROUP]

    def close(self) -> None:
        """From now on allow only what brings the answer to its end: a group and a character are finished."""
        self._closing = True

    def allowed(self) -> Numbers:
        """Ids that may follow, at least one; none after EOT."""
        return np.concatenate(list(self._shortest() if self._closing else self._every()))

    def take(self, id: int) -> None:
        """Raises ValueError for an id that may not follow."""
        if id not in self.allowed():
            raise ValueError(f"{id} may not follow here")
        v = self._v
        if id == v.eot:
            self.ended = True
        elif id == v.audio_end:
            self._in_voice = False
            self._text_ended &= not self._restarts
        elif id == v.audio_start:
            self._turn_to_audio()
            self._in_voice, self._voices, self._codes = True, self._voices + 1, 0
        elif v.linguistic <= id < v.semantic + SEMANTIC_CODES:
            self._turn_to_audio()
            self._taken += 1
            self._codes += 1
        else:
            self._turn_to_text()
            self._taken += 1
            self._half = self._spelling.rest(self._half, id)

    def _every(self) -> Iterator[Numbers]:
        if self._may_text():
            yield self._spelling.after(self._half)
        if self._in_voice and self._may_sound():
            yield self._next_code()
        if not self._in_voice and not self._audio_ended and self._may_sound():
            yield self._one(self._v.audio_start)
        if self._may_end_voice():
            yield self._one(self._v.audio_end)
        if not self._in_voice and (self._audio_ended or self._voices) and self._text_may_end():
            yield self._one(self._v.eot)

    def _shortest(self) -> Iterator[Numbers]:
        if self._may_end_voice():
            yield self._one(self._v.audio_end)
        elif self._in_voice and self._may_sound():
            yield self._next_code()
        elif self._half:
            yield self._spelling.completing(self._half)
        else:
            yield self._one(self._v.eot)

    def _may_text(self) -> bool:
        if self._text_ended:
            return False
        if self._turn == "text":
            return (
                self._taken < self._most_text
                or (not self._in_voice and self._voices > 0)
                or self._audio_ended
            )
        return not self._in_voice or self._taken >= self._most_codes

    def _may_sound(self) -> bool:
        """Whether the turns let a code come next, with its marker if it is a voice's first."""
        if self._turn == "text":
            return self._taken >= self._most_text or self._text_may_end()
        return self._taken < self._most_codes or self._text_may_end()

    def _may_end_voice(self) -> bool:
        whole = self._codes > 0 and self._codes % len(self._group) == 0
        return self._in_voice and self._turn == "audio" and whole

    def _text_may_end(self) -> bool:
        return self._text_ended or (not self._half and (self._turn == "audio" or self._taken > 0))

    def _turn_to_audio(self) -> None:
        if self._turn == "text":
            # A text that stops early has ended, but for one whose beginning nobody knows.
            known = self._in_voice or not self._voices or not self._restarts
            self._text_ended |= known and self._taken < self._most_text
            self._turn, self._taken = "audio", 0
        elif self._taken >= self._most_codes:
            self._text_ended = True

    def _turn_to_text(self) -> None:
        if self._turn == "audio":
            self._audio_ended |= self._taken < self._most_codes and not self._restarts
            self._turn, self._taken = "text", 0
        elif self._taken >= self._most_text:
            self._audio_ended |= not self._restarts

    def _next_code(self) -> Numbers:
        return self._group[self._codes % len(self._group)]

    @staticmethod
    def _range(first: int, count: int) -> Numbers:
        return np.arange(first, first + count)

    @staticmethod
    def _one(id: int) -> Numbers:
        return np.array([id])
