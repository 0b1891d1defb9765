"""Which ids may follow in an answer, given the layout that the model was trained on (`schemas.layout`).

interleaved n:m   n text ids, m codes, n text ids, .. until one side ends; the rest of the other side follows
text_first        text, then the voices
audio_only        voices
text_only         text

A voice is `<audio_start>`, complete groups of 2 linguistic and 3 semantic codes, `<audio_end>`. Markers are
not counted: the first is directly before a code, the second directly after one. In a vocabulary without audio
markers the codes of an answer are one voice, which may end after any complete group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from schemas.layout import LINGUISTIC_PER_GROUP, SEMANTIC_PER_GROUP
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, Vocabulary
from stages.train.spelling import Numbers, Spelling

LONGEST_CHARACTER = 4
"""Bytes of UTF-8."""
LONGEST_END = LONGEST_CHARACTER - 1 + LINGUISTIC_PER_GROUP + SEMANTIC_PER_GROUP + 2
"""Most ids that it takes to end an answer: the rest of a character, a group, its marker, and EOT."""

Mode = Literal["interleaved", "text_first", "audio_only", "text_only"]

Rule = Literal["ratio", "groups", "markers", "text"]
"""What an id that may not follow breaks: the turns of text and codes, the order of codes in a group, the
place of a marker, or the bytes of a character."""


@dataclass(frozen=True)
class Form:
    """How text and speech of an answer are arranged, as in a recipe's `interleave`."""

    mode: Mode = "interleaved"
    ratio: tuple[int, int] = (10, 15)
    restarts: bool = False
    """Each of several voices is interleaved with its own text (`pre_interleaved`)."""

    def __post_init__(self) -> None:
        if min(self.ratio) < 1:
            raise ValueError(f"a ratio is two numbers of at least 1, not {self.ratio[0]}:{self.ratio[1]}")


class Grammar:
    """The state of an answer: `allowed` returns the ids that may follow, and one of them is passed to `take`.

    A turn here is a run of text ids or of codes, as counted by the ratio. A side has ended as soon as the ids
    can't be read in another way: a text that stops within its turn has ended.
    """

    def __init__(self, vocabulary: Vocabulary, spelling: Spelling, form: Form) -> None:
        self._v = vocabulary
        self._spelling = spelling
        self._has_markers = vocabulary.options.audio_markers
        self._restarts = form.restarts and form.mode == "interleaved" and self._has_markers
        ratio: tuple[float, float] = form.ratio if form.mode == "interleaved" else (inf, inf)
        self._max_text, self._max_codes = ratio
        self._text_ended = form.mode == "audio_only"
        self._audio_ended = form.mode == "text_only"
        self._turn: Literal["text", "audio"] = "audio" if self._text_ended else "text"
        self._taken = 0
        """Ids of this turn, without markers."""
        self._half = b""
        """The bytes of an unfinished character."""
        self._in_voice = False
        self._voices = 0
        """Number of voices that have begun."""
        self._codes = 0
        """Number of codes of this voice."""
        self._closing = False
        self.ended = False
        group = [self._range(vocabulary.linguistic, LINGUISTIC_CODES)] * LINGUISTIC_PER_GROUP
        self._group = [*group, *[self._range(vocabulary.semantic, SEMANTIC_CODES)] * SEMANTIC_PER_GROUP]

    def close(self) -> None:
        """Allow only what ends the answer: a group or character in progress is finished first."""
        self._closing = True

    @property
    def ids_to_end(self) -> int:
        """Most ids that it takes from here to the end, once it is closed."""
        if self.ended:
            return 0
        character = LONGEST_CHARACTER - len(self._half) if self._half else 0
        codes = -self._codes % len(self._group)
        if self._has_markers and (self._turn == "text" or not self._codes):
            codes = codes or len(self._group)  # a voice ends after a group, not after text
        return character + (codes + self._has_markers if self._in_voice else 0) + 1

    def allowed(self) -> Numbers:
        """Ids that may follow: at least one, but none after EOT."""
        return np.concatenate(list(self._to_end() if self._closing else self._all()))

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
            self._begin_voice()
        elif v.linguistic <= id < v.semantic + SEMANTIC_CODES:
            self._turn_to_audio()
            if not self._in_voice:
                self._begin_voice()
            self._taken += 1
            self._codes += 1
        else:
            self._turn_to_text()
            self._in_voice &= self._has_markers or not self._audio_ended
            self._taken += 1
            self._half = self._spelling.rest(self._half, id)

    def broken_by(self, id: int) -> Rule | None:
        """The rule that an id would break; None if it may follow. Not to be asked after `close`."""
        if id in self.allowed():
            return None
        v = self._v
        if id in (v.audio_start, v.audio_end, v.eot):
            return "markers"
        if not v.linguistic <= id < v.semantic + SEMANTIC_CODES:
            return "text" if self._may_write() else "ratio"
        if not self._may_speak() or (self._audio_ended and not self._in_voice):
            return "ratio"
        return "groups" if self._in_voice or not self._has_markers else "markers"

    def _all(self) -> Iterator[Numbers]:
        if self._may_write():
            yield self._spelling.after(self._half)
        if self._in_voice and self._may_speak():
            yield self._next_code()
        if not self._in_voice and not self._audio_ended and self._may_speak():
            yield self._one(self._v.audio_start) if self._has_markers else self._next_code()
        if self._may_end_voice():
            yield self._one(self._v.audio_end)
        if self._voice_may_be_over() and (self._audio_ended or self._voices) and self._text_may_end():
            yield self._one(self._v.eot)

    def _to_end(self) -> Iterator[Numbers]:
        if self._may_end_voice():
            yield self._one(self._v.audio_end)
        elif not self._voice_may_be_over() and self._may_speak():
            yield self._next_code()
        elif self._half:
            yield self._spelling.completing(self._half)
        else:
            yield self._one(self._v.eot)

    def _may_write(self) -> bool:
        if self._text_ended:
            return False
        if self._turn == "text":
            is_rest = self._voices > 0 and self._voice_may_be_over()
            return self._taken < self._max_text or is_rest or self._audio_ended
        return self._voice_may_be_over() or self._taken >= self._max_codes

    def _may_speak(self) -> bool:
        """Whether a code may come next, after its marker if it is a voice's first."""
        if self._turn == "text":
            return self._taken >= self._max_text or self._text_may_end()
        return self._taken < self._max_codes or self._text_may_end()

    def _may_end_voice(self) -> bool:
        return self._has_markers and self._in_voice and self._turn == "audio" and self._has_whole_groups()

    def _voice_may_be_over(self) -> bool:
        """Whether no voice's end is still to come; without markers, whether one may have ended."""
        return not self._in_voice or (not self._has_markers and self._has_whole_groups())

    def _has_whole_groups(self) -> bool:
        return self._codes > 0 and self._codes % len(self._group) == 0

    def _begin_voice(self) -> None:
        self._in_voice, self._voices, self._codes = True, self._voices + 1, 0

    def _text_may_end(self) -> bool:
        return self._text_ended or (not self._half and (self._turn == "audio" or self._taken > 0))

    def _turn_to_audio(self) -> None:
        if self._turn == "text":
            # A text that stops early has ended, unless its beginning is unknown.
            is_known = self._in_voice or not self._voices or not self._restarts
            self._text_ended |= is_known and self._taken < self._max_text
            self._turn, self._taken = "audio", 0
        elif self._taken >= self._max_codes:
            self._text_ended = True

    def _turn_to_text(self) -> None:
        if self._turn == "audio":
            self._audio_ended |= self._taken < self._max_codes and not self._restarts
            self._turn, self._taken = "text", 0
        elif self._taken >= self._max_text:
            self._audio_ended |= not self._restarts

    def _next_code(self) -> Numbers:
        return self._group[self._codes % len(self._group)]

    @staticmethod
    def _range(first: int, count: int) -> Numbers:
        return np.arange(first, first + count)

    @staticmethod
    def _one(id: int) -> Numbers:
        return np.array([id])
