"""The layout of a sequence of ids: code groups, audio spans and the chat template, and how to parse it.

chat       BOT role\\n content EOT  BOT role\\n content EOT ..
document   BOS content EOS
content    text ids and audio spans in any order; text may also be interleaved with the groups of a span
span       <audio_start> g g g .. <audio_end>      g = 2 linguistic + 3 semantic codes
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from schemas.arrow import Code
from schemas.recording import Codes
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, Ids, Modality, Vocabulary

ROLES = ("system", "human", "assistant")
GROUP = (2, 3)
"""Number of linguistic and of semantic codes in a group, which represents 120 ms."""

_PATTERN = np.array([Modality.LINGUISTIC] * GROUP[0] + [Modality.SEMANTIC] * GROUP[1], np.uint8)


@dataclass(frozen=True)
class ReadMessage:
    """A message parsed from its ids."""

    role: str | None
    """None for a document."""
    text: str
    codes: tuple[Codes, ...]
    """Codes of each audio span."""


def whole_groups(codes: Codes) -> Codes:
    """The codes up to the last whole group."""
    groups = min(len(codes.linguistic) // GROUP[0], len(codes.semantic) // GROUP[1])
    return Codes(codes.linguistic[: groups * GROUP[0]], codes.semantic[: groups * GROUP[1]])


def merged(codes: Codes) -> Ids:
    """Numbers N of the tokens `<audio_N>`, [5 g], for the g whole groups of some codes, each L L S S S."""
    whole = whole_groups(codes)
    linguistic = np.array(whole.linguistic, np.int32).reshape(-1, GROUP[0])
    semantic = np.array(whole.semantic, np.int32).reshape(-1, GROUP[1]) + LINGUISTIC_CODES
    return np.concatenate([linguistic, semantic], axis=1).ravel()


def code_ids(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """Ids [5 g] for the g whole groups of some codes."""
    return merged(codes) + np.int32(vocabulary.linguistic)


def codes_of(ids: ArrayLike, vocabulary: Vocabulary) -> Codes:
    """The inverse of `code_ids`. Raises ValueError if the ids are not a sequence of whole groups."""
    ids = np.asarray(ids, np.int32)
    if len(ids) % len(_PATTERN) or (vocabulary.modality(ids).reshape(-1, len(_PATTERN)) != _PATTERN).any():
        raise ValueError("an audio span is not a sequence of whole code groups")
    groups = ids.reshape(-1, len(_PATTERN))
    linguistic = groups[:, : GROUP[0]].ravel() - vocabulary.linguistic
    semantic = groups[:, GROUP[0] :].ravel() - vocabulary.semantic
    return Codes(tuple(map(Code, linguistic.tolist())), tuple(map(Code, semantic.tolist())))


def audio_tokens(ids: Ids, spans: Iterable[Sequence[int]], first: int) -> Ids:
    """Numbers N of the tokens `<audio_N>` in some spans [start, end) of a sample's ids.

    Markers and interleaved text are dropped, and so are codes after the last whole group, since a vocoder
    takes whole groups. `first` is the id of `<audio_0>`.
    """
    numbers = np.concatenate([ids[start:end] for start, end in spans]) - np.int32(first)
    numbers = numbers[(numbers >= 0) & (numbers < LINGUISTIC_CODES + SEMANTIC_CODES)]
    return numbers[: len(numbers) // len(_PATTERN) * len(_PATTERN)].astype(np.int32)


def span(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """Ids of an audio span: `<audio_start> g g g .. <audio_end>`."""
    return np.concatenate(
        [[vocabulary.audio_start], code_ids(codes, vocabulary), [vocabulary.audio_end]], dtype=np.int32
    )


def header(role: str, vocabulary: Vocabulary) -> Ids:
    """Ids of `BOT role\\n`, which precede the content of a message. A prompt ends with the assistant's."""
    return np.concatenate([[vocabulary.bot], vocabulary.encode(f"{role}\n")], dtype=np.int32)


def read(tokens: ArrayLike, vocabulary: Vocabulary) -> tuple[ReadMessage, ...]:
    """Roles, texts and codes of a sequence. Raises ValueError if it is neither a chat nor a document."""
    ids = np.asarray(tokens, np.int32)
    if len(ids) > 1 and ids[0] == vocabulary.bos:
        if ids[-1] != vocabulary.eos:
            raise ValueError("the document has no EOS at its end")
        return (_message(None, ids[1:-1], vocabulary),)
    starts = np.flatnonzero(ids == vocabulary.bot)
    ends = np.flatnonzero(ids == vocabulary.eot)
    if len(starts) != len(ends) or not np.array_equal(starts, np.concatenate([[0], ends + 1])[: len(starts)]):
        raise ValueError("messages must begin with BOT, end with EOT and follow each other directly")
    if len(ids) != (ends[-1] + 1 if len(ends) else 0):
        raise ValueError("there are ids after the last message")
    return tuple(_chat(ids[a:b], vocabulary) for a, b in zip(starts, ends, strict=True))


def _chat(ids: Ids, vocabulary: Vocabulary) -> ReadMessage:
    for role in ROLES:
        head = header(role, vocabulary)
        if np.array_equal(ids[: len(head)], head):
            return _message(role, ids[len(head) :], vocabulary)
    raise ValueError("a message has an unknown role")


def _message(role: str | None, ids: Ids, vocabulary: Vocabulary) -> ReadMessage:
    starts = np.flatnonzero(ids == vocabulary.audio_start)
    ends = np.flatnonzero(ids == vocabulary.audio_end)
    if len(starts) != len(ends) or (starts > ends).any() or (starts[1:] < ends[:-1]).any():
        raise ValueError("audio markers are not paired")
    modality = vocabulary.modality(ids)
    is_code = modality != Modality.TEXT
    spans = [ids[a:b][is_code[a:b]] for a, b in zip(starts, ends, strict=True)]
    if sum(map(len, spans)) != is_code.sum():
        raise ValueError("there are codes outside of audio spans")
    marker = (ids == vocabulary.audio_start) | (ids == vocabulary.audio_end)
    text = vocabulary.decode(ids[~is_code & ~marker])
    return ReadMessage(role, text, tuple(codes_of(codes, vocabulary) for codes in spans))
