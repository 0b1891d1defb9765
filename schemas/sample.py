"""A sample, first as messages (what compose makes), then as ids (what interleave makes of those)."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.recording import Codes
from schemas.vocabulary import Ids

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Clip:
    """A stretch of a recording's audio, seconds."""

    recording: str
    track: int
    start: float
    end: float


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Speech:
    """The codes of one turn, where they come from, and what is said."""

    codes: Codes
    clip: Clip
    turn: int
    speaker: str
    text: str | None


@dataclass(frozen=True)
class Message:
    """What one role says; `role` None is a document without roles."""

    role: str | None
    content: tuple[Text | Speech, ...]
    interleaved: bool = False
    """One text and its speech in turns, by the recipe's ratio; else the parts follow each other."""


@dataclass(frozen=True)
class Draft:
    """A sample that is not in ids yet."""

    key: str
    """[a-z0-9-], under 100 characters: recording, turns, family."""
    family: str
    messages: tuple[Message, ...]
    record: dict[str, Any]
    """`speakers`, `language`, `source` (recording and times), `turns` (measures), `sidecar`."""


@dataclass(frozen=True)
class Sample:
    """What a shard holds of one sample."""

    key: str
    family: str
    record: dict[str, Any]
    """The draft's record with `schema_version`, `family` and `messages`: `[{role, content: [{type, text,
    spans, ..}]}]` of type `text` or `audio`. `spans` are `[first, end)` in `tokens`, markers included."""
    tokens: Ids
    """[n] int32"""
    loss: NDArray[np.uint8]
    """[n], 1 where the token is a target."""
    audio: tuple[Clip, ...]
    """The audio behind the audio parts, in their order: one after another they are `<key>.flac`."""


@dataclass(frozen=True)
class Pair:
    """What a shard holds of a preference: `<key>.prompt.npy`, `.chosen.npy` and `.rejected.npy`."""

    key: str
    record: dict[str, Any]
    """As a sample's; `messages` are the prompt's, `chosen` and `rejected` the messages that may follow, with
    spans in prompt and that side together; `differs_in` (`text`, `audio` or `both`), and in `preference` the
    pair's `source` and what speaks for the choice."""
    prompt: Ids
    """[n] int32, all up to the header of the answer."""
    chosen: Ids
    """Content with its EOT, as `rejected`."""
    rejected: Ids
    family: str = "preference"
    audio: tuple[Clip, ...] = ()

    @property
    def tokens(self) -> Ids:
        """All three, one after another."""
        return np.concatenate([self.prompt, self.chosen, self.rejected])


def turns_in(key: str) -> tuple[int, ...]:
    """Indices, within their recording, of the turns that a sample's key names."""
    found = re.match(r"[0-9a-f]{16}((?:-\d{5,})+)-", key)
    return tuple(map(int, found[1].split("-")[1:])) if found else ()
