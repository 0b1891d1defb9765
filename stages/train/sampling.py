"""Answers sampled id by id within the layout's grammar, and streamed piece by piece."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor

from schemas.errors import SetupError
from schemas.layout import codes_of, read_content
from schemas.recording import Codes
from schemas.vocabulary import Ids, Modality, Vocabulary
from stages.train.cache import Reader
from stages.train.grammar import LONGEST_END, Form, Grammar, Rule
from stages.train.spelling import Numbers, spelling_of

Reason = Literal["end", "length", "text_loop", "audio_loop"]
"""Why an answer ended: the model's EOT, the maximum number of tokens, or a repetition loop."""

LOOP_COPIES = 4
"""A stretch that is repeated this often in a row, with a minimum total length, is a loop."""
TEXT_LOOP = (64, 24)
"""Longest stretch and minimum total length, in text ids."""
AUDIO_LOOP = (125, 200)
"""The same in codes: 3 s and 4.8 s, which is longer than any pause."""
RECENT, REPEATED_SHARE = 10, 0.1
"""Of the repetition rule."""
LIKELIEST = 512
"""Number of ids that most draws are among."""


@dataclass(frozen=True)
class Sampling:
    temperature: float = 0.7
    """0 always takes the likeliest id."""
    top_p: float = 0.9
    """Draw among the likeliest ids that together have this probability."""
    seed: int = 0
    max_tokens: int = 4096
    """Most ids of an answer: where what it takes to end it no longer fits, it is closed."""
    repetition_rule: bool = False
    """An id that is more than a tenth of the last ten doesn't follow itself, as in Step-Audio-TTS-3B."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.max_tokens < 1:
            raise ValueError(f"{self}: temperature is at least 0, top_p in (0, 1], max_tokens at least 1")


@dataclass(frozen=True)
class TextPiece:
    text: str
    """Complete characters; the concatenation of all pieces is the answer's text."""


@dataclass(frozen=True)
class CodeGroup:
    codes: Codes
    """Two linguistic and three semantic: 120 ms."""
    voice: int
    """Number of the voice within the answer, from 0."""


@dataclass(frozen=True)
class Obedience:
    """Whether the likeliest of all ids was one that the grammar allows. What is drawn always is: the others
    are masked out."""

    steps: int
    """Of the answer, but for those that close it."""
    broken: Mapping[Rule, int]
    """Rule -> steps at which the likeliest id would have broken it."""


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    ids: Ids
    """The content including EOT."""
    text: str
    voices: tuple[Codes, ...]
    reason: Reason
    obedience: Obedience = Obedience(0, {})


def answer(
    reader: Reader, prompt: Ids, vocabulary: Vocabulary, form: Form, sampling: Sampling, already_read: int = 0
) -> Iterator[TextPiece | CodeGroup | Answer]:
    """Stream the answer to a prompt; the last event is the `Answer`. `reader` has read the first
    `already_read` ids of the prompt, not all of them.

    The same logits, settings and seed give the same answer. Raises SetupError if a logit is NaN.
    """
    writer = Writer(prompt, vocabulary, form, sampling)
    ids = prompt[already_read:].tolist()
    while not writer.ended:
        id = writer.write(reader.read(ids))
        yield from writer.pieces(id)
        ids = [id]
    yield writer.answer()


class Writer:
    """An answer to a prompt in the making: takes the logits of its next id, and draws it."""

    def __init__(self, prompt: Ids, vocabulary: Vocabulary, form: Form, sampling: Sampling) -> None:
        self._vocabulary, self._sampling = vocabulary, sampling
        self._recent = deque(prompt.tolist(), RECENT)
        self._pieces = _Pieces(vocabulary)
        self._grammar = Grammar(vocabulary, self._pieces.spelling, form)
        self._draw = Draw(sampling)
        self._loops = {False: _Loop(*TEXT_LOOP), True: _Loop(*AUDIO_LOOP)}
        self._reason: Reason = "end"
        self._ids: list[int] = []
        self._steps = 0
        self._broken: Counter[Rule] = Counter()

    @property
    def ended(self) -> bool:
        return self._grammar.ended

    @property
    def closing(self) -> bool:
        """Whether only what ends the answer may follow."""
        return self._reason != "end"

    @property
    def ids(self) -> Sequence[int]:
        """What was written."""
        return self._ids

    @property
    def last(self) -> int:
        """The last id, of the prompt or of what was written."""
        return int(self._recent[-1])

    def write(self, logits_V: Tensor) -> int:
        """The next id. Raises SetupError if a logit is NaN."""
        id = self._draw(logits_V, self.allowed())
        if not self.closing and not self._leaves_room_to_end(id):
            self._close("length")
            id = self._draw(logits_V, self.allowed())
        likeliest = int(logits_V.argmax())
        self._judge(likeliest, likeliest == id)
        self._take(id)
        return id

    def offer(self, id: int, free: bool) -> bool:
        """Take an id that was drawn elsewhere, if it may follow; what may can be asked afterwards.

        `free` says that it was drawn among all ids, and counts as the likeliest.
        """
        may_follow = id in self.allowed()
        if may_follow and not self.closing and not self._leaves_room_to_end(id):
            self._close("length")
            return False
        if free:
            self._judge(id, may_follow)
        if may_follow:
            self._take(id)
        return may_follow

    def allowed(self) -> Numbers:
        """The ids that may follow."""
        allowed = self._grammar.allowed()
        return _without_repeated(allowed, self._recent) if self._sampling.repetition_rule else allowed

    def _judge(self, likeliest: int, may_follow: bool) -> None:
        if not self.closing:
            self._steps += 1
            if not may_follow and (rule := self._grammar.broken_by(likeliest)):
                self._broken[rule] += 1

    def _take(self, id: int) -> None:
        self._grammar.take(id)
        self._ids.append(id)
        self._recent.append(id)
        if not self.ended and not self.closing:
            is_code = self._pieces.is_code(id)
            if not self._pieces.is_marker(id) and self._loops[is_code].take(id):
                self._close("audio_loop" if is_code else "text_loop")

    def _leaves_room_to_end(self, id: int) -> bool:
        left = self._sampling.max_tokens - len(self._ids) - 1
        if left >= LONGEST_END:
            return True
        ahead = copy(self._grammar)
        ahead.take(id)
        return ahead.ids_to_end <= left

    def _close(self, reason: Reason) -> None:
        self._reason = reason
        self._grammar.close()

    def pieces(self, id: int) -> Iterator[TextPiece | CodeGroup]:
        """What is complete with an id that was written; to be called for all ids in order, or for none."""
        yield from self._pieces.take(id)

    def answer(self) -> Answer:
        """The complete answer."""
        content = np.array(self._ids, np.int32)
        message = read_content("assistant", content[:-1], self._vocabulary)
        obedience = Obedience(self._steps, dict(self._broken))
        return Answer(content, message.text, message.codes, self._reason, obedience)


def _without_repeated(allowed: Numbers, recent: deque[int]) -> Numbers:
    """Ids that may follow the most recent ones by the repetition rule; all of them if none is left."""
    if len(recent) < RECENT or recent.count(recent[-1]) <= RECENT * REPEATED_SHARE:
        return allowed
    others = allowed[allowed != recent[-1]]
    return others if len(others) else allowed


class Draw:
    """Draws on the CPU, so that a seed gives the same ids on every device."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def __call__(self, logits_V: Tensor, allowed: Numbers) -> int:
        scores = logits_V.cpu()[torch.from_numpy(allowed)].double()
        if scores.isnan().any():
            raise SetupError("the model's logits are NaN: its weights are broken")
        if self._sampling.temperature == 0 or len(allowed) == 1:
            return int(allowed[int(scores.argmax())])
        scores = scores.nan_to_num() / self._sampling.temperature
        probability = scores.softmax(-1)
        for size in (LIKELIEST, len(allowed)):  # finding the likeliest few is faster than sorting all
            likeliest, order = probability.topk(min(size, len(allowed)))
            below = likeliest.cumsum(-1)
            if below[-1] >= self._sampling.top_p:
                break
        kept = int((below - likeliest < self._sampling.top_p).sum())
        at = torch.rand((), generator=self._generator, dtype=torch.float64) * below[kept - 1]
        return int(allowed[int(order[min(int(torch.searchsorted(below, at)), kept - 1)])])


class _Loop:
    """Detects that the last ids are one stretch, repeated."""

    def __init__(self, longest: int, minimum: int) -> None:
        self._last = np.full(longest, -1)
        """The previous ids, the latest first."""
        self._same = np.zeros(longest, int)
        """At n - 1: number of consecutive ids, up to the latest, that equal the id n positions earlier."""
        stretch = np.arange(1, longest + 1)
        self._limit = np.maximum((LOOP_COPIES - 1) * stretch, minimum - stretch)

    def take(self, id: int) -> bool:
        self._same = (self._same + 1) * (self._last == id)
        self._last = np.concatenate([[id], self._last[:-1]])
        return bool((self._same >= self._limit).any())


class _Pieces:
    """Turns ids into text and groups of codes, each as soon as it is complete."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.spelling = spelling_of(vocabulary)
        self._v = vocabulary
        self._half = b""
        self._context: list[int] = []
        """Text ids of the previous piece: some tokenizers decode a piece differently depending on it."""
        self._text: list[int] = []
        self._group: list[int] = []
        self._voices = 0

    def is_code(self, id: int) -> bool:
        return bool(self._v.modality(id) != Modality.TEXT)

    def is_marker(self, id: int) -> bool:
        return id in (self._v.audio_start, self._v.audio_end, self._v.eot)

    def take(self, id: int) -> Iterator[TextPiece | CodeGroup]:
        if self.is_code(id):
            self._group.append(id)
            if len(self._group) == 5:
                yield CodeGroup(codes_of(self._group, self._v), max(0, self._voices - 1))
                self._group = []
        elif self.is_marker(id):
            self._voices += id == self._v.audio_start
        else:
            self._text.append(id)
            self._half = self.spelling.rest(self._half, id)
            if not self._half:
                before, both = (self._v.decode(ids) for ids in (self._context, self._context + self._text))
                yield TextPiece(both[len(before) :])
                self._context, self._text = self._text, []


def answered(events: Iterator[TextPiece | CodeGroup | Answer]) -> Answer:
    """The complete answer, without streaming it."""
    *_, last = events
    return cast(Answer, last)
