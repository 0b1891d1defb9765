"""A sample: as messages, the output of compose, and as ids, the output of interleave."""

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
    """A span of a recording's audio; times in seconds."""

    recording: str
    track: int
    start: float
    end: float


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Speech:
    """One turn: its codes, its audio and its text."""

    codes: Codes
    clip: Clip
    turn: int
    """Index of the turn in its recording."""
    speaker: str
    text: str | None


@dataclass(frozen=True)
class Message:
    """Content by one role."""

    role: str | None
    """None for a document, which has no roles."""
    content: tuple[Text | Speech, ...]
    interleaved: bool = False
    """Interleave the one text with its speech at the recipe's ratio; otherwise the parts are concatenated."""


@dataclass(frozen=True)
class Draft:
    """A sample before it is converted to ids."""

    key: str
    """Recording, turns and family: [a-z0-9-], under 100 characters."""
    family: str
    messages: tuple[Message, ...]
    record: dict[str, Any]
    """`speakers`, `language`, `source` (recording and times), `turns` (measures), `sidecar`."""


@dataclass(frozen=True)
class Sample:
    """A sample as it is stored in a shard."""

    key: str
    family: str
    record: dict[str, Any]
    """The draft's record with `schema_version`, `family` and `messages`: `[{role, content: [{type, text,
    spans, ..}]}]`, `type` being `text` or `audio`. `spans` are `[start, end)` in `tokens`, with markers."""
    tokens: Ids
    """[n] int32"""
    loss: NDArray[np.uint8]
    """[n], 1 where the token is a target."""
    audio: tuple[Clip, ...]
    """Audio of the audio parts, in order. Concatenated, it is `<key>.flac`."""


@dataclass(frozen=True)
class Pair:
    """A preference pair as it is stored in a shard: `<key>.prompt.npy`, `.chosen.npy` and `.rejected.npy`."""

    key: str
    record: dict[str, Any]
    """As in `Sample`. `messages` are those of the prompt, `chosen` and `rejected` those of the answers, with
    spans in the concatenation of prompt and answer. `differs_in` is `text`, `audio` or `both`; `preference`
    holds the `source` of the pair and the evidence for the choice."""
    prompt: Ids
    """[n] int32, up to and including the header of the answer."""
    chosen: Ids
    """[n] int32, the content of the answer and its EOT; likewise `rejected`."""
    rejected: Ids
    family: str = "preference"
    audio: tuple[Clip, ...] = ()

    @property
    def tokens(self) -> Ids:
        """Prompt, chosen and rejected ids, concatenated."""
        return np.concatenate([self.prompt, self.chosen, self.rejected])


def turns_in(key: str) -> tuple[int, ...]:
    """Indices in their recording of the turns in a sample's key."""
    match = re.match(r"[0-9a-f]{16}((?:-\d{5,})+)-", key)
    return tuple(map(int, match[1].split("-")[1:])) if match else ()
