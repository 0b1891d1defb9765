"""The layout of a sequence of ids: code groups, audio spans and the chat template, and how to parse it.

chat       BOT role\\n content EOT  BOT role\\n content EOT ..      (behind BOS with `chat_bos`)
document   BOS content EOS
content    text ids and audio spans in any order; text may also be interleaved with the groups of a span
span       <audio_start> g g g .. <audio_end>      g = 2 linguistic + 3 semantic codes

In a vocabulary without audio markers the groups stand bare. Then all codes of an assistant's message are one
span, as are codes elsewhere that directly follow each other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.arrow import Code
from schemas.recording import Codes
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES, Ids, Modality, Vocabulary

ROLES = ("system", "human", "assistant")

LINGUISTIC_PER_GROUP = 2
SEMANTIC_PER_GROUP = 3
CODES_PER_GROUP = LINGUISTIC_PER_GROUP + SEMANTIC_PER_GROUP
GROUP_SECONDS = 0.12
LINGUISTIC_RATE = LINGUISTIC_PER_GROUP / GROUP_SECONDS
"""Codes per second: 16.67."""
SEMANTIC_RATE = SEMANTIC_PER_GROUP / GROUP_SECONDS
"""Codes per second: 25."""

_PATTERN = np.array(
    [Modality.LINGUISTIC] * LINGUISTIC_PER_GROUP + [Modality.SEMANTIC] * SEMANTIC_PER_GROUP, np.uint8
)


@dataclass(frozen=True)
class ReadMessage:
    """A message parsed from its ids."""

    role: str | None
    """None for a document."""
    text: str
    codes: tuple[Codes, ...]
    """Codes of each audio span."""


def group_count(codes: Codes) -> int:
    """Number of whole groups in some codes."""
    return min(len(codes.linguistic) // LINGUISTIC_PER_GROUP, len(codes.semantic) // SEMANTIC_PER_GROUP)


def cut_groups(codes: Codes, first: int, end: int) -> Codes:
    """The codes of groups `first` to `end` (exclusive)."""
    return Codes(
        codes.linguistic[first * LINGUISTIC_PER_GROUP : end * LINGUISTIC_PER_GROUP],
        codes.semantic[first * SEMANTIC_PER_GROUP : end * SEMANTIC_PER_GROUP],
    )


def check_ratio(ratio: tuple[int, int]) -> tuple[int, int]:
    """A ratio of text ids to codes, if its codes make whole groups; else raises ValueError."""
    text, codes = ratio
    if codes % CODES_PER_GROUP or min(ratio) < 1:
        below = codes // CODES_PER_GROUP * CODES_PER_GROUP
        nearest = [n for n in (below, below + CODES_PER_GROUP) if n > 0]
        valid = " or ".join(f"[{max(1, text)}, {n}]" for n in nearest)
        raise ValueError(
            f"[{text}, {codes}] would cut code groups: the second number must be a multiple of "
            f"{CODES_PER_GROUP}, such as {valid}"
        )
    return ratio


def whole_groups(codes: Codes) -> Codes:
    """The codes up to the last whole group."""
    return cut_groups(codes, 0, group_count(codes))


def merged(codes: Codes) -> Ids:
    """Numbers N of the tokens `<audio_N>`, [5 g], for the g whole groups of some codes, each L L S S S."""
    whole = whole_groups(codes)
    linguistic = np.array(whole.linguistic, np.int32).reshape(-1, LINGUISTIC_PER_GROUP)
    semantic = np.array(whole.semantic, np.int32).reshape(-1, SEMANTIC_PER_GROUP) + LINGUISTIC_CODES
    return np.concatenate([linguistic, semantic], axis=1).ravel()


def code_ids(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """Ids [5 g] for the g whole groups of some codes."""
    return merged(codes) + np.int32(vocabulary.linguistic)


def codes_of(ids: ArrayLike, vocabulary: Vocabulary) -> Codes:
    """The inverse of `code_ids`. Raises ValueError if the ids are not a sequence of whole groups."""
    ids = np.asarray(ids, np.int32)
    whole = len(ids) % CODES_PER_GROUP == 0
    if not whole or (vocabulary.modality(ids).reshape(-1, CODES_PER_GROUP) != _PATTERN).any():
        raise ValueError("an audio span is not a sequence of whole code groups")
    groups = ids.reshape(-1, CODES_PER_GROUP)
    linguistic = groups[:, :LINGUISTIC_PER_GROUP].ravel() - vocabulary.linguistic
    semantic = groups[:, LINGUISTIC_PER_GROUP:].ravel() - vocabulary.semantic
    return Codes(tuple(map(Code, linguistic.tolist())), tuple(map(Code, semantic.tolist())))


def audio_tokens(ids: Ids, spans: Iterable[Sequence[int]], first: int) -> Ids:
    """Numbers N of the tokens `<audio_N>` in some spans [start, end) of a sample's ids.

    Markers and interleaved text are dropped, and so are codes after the last whole group, since a vocoder
    takes whole groups. `first` is the id of `<audio_0>`.
    """
    numbers = np.concatenate([ids[start:end] for start, end in spans]) - np.int32(first)
    numbers = numbers[(numbers >= 0) & (numbers < LINGUISTIC_CODES + SEMANTIC_CODES)]
    return numbers[: len(numbers) // CODES_PER_GROUP * CODES_PER_GROUP].astype(np.int32)


def span(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """Ids of an audio span: `<audio_start> g g g .. <audio_end>`, or only the groups without markers."""
    if not vocabulary.options.audio_markers:
        return code_ids(codes, vocabulary)
    return np.concatenate(
        [[vocabulary.audio_start], code_ids(codes, vocabulary), [vocabulary.audio_end]], dtype=np.int32
    )


def header(role: str, vocabulary: Vocabulary) -> Ids:
    """Ids of `BOT role\\n`, which precede the content of a message. A prompt ends with the assistant's."""
    return np.concatenate([[vocabulary.bot], vocabulary.encode_whole(f"{role}\n")], dtype=np.int32)


def chat_start(vocabulary: Vocabulary) -> Ids:
    """Ids before the first message of a chat: BOS or nothing."""
    return np.array([vocabulary.bos] if vocabulary.options.chat_bos else [], np.int32)


def system_before(role: str | None, vocabulary: Vocabulary) -> str | None:
    """The default system prompt that precedes a first message of this role; None: nothing does."""
    return None if role in (None, "system") else vocabulary.options.default_system


def read(tokens: ArrayLike, vocabulary: Vocabulary) -> tuple[ReadMessage, ...]:
    """Roles, texts and codes of a sequence. Raises ValueError if it is neither a chat nor a document."""
    ids = np.asarray(tokens, np.int32)
    start = chat_start(vocabulary)
    is_chat = len(start) and np.array_equal(ids[:2], [*start, vocabulary.bot])
    if len(ids) > 1 and ids[0] == vocabulary.bos and not is_chat:
        if ids[-1] != vocabulary.eos:
            raise ValueError("the document has no EOS at its end")
        return (read_content(None, ids[1:-1], vocabulary),)
    if len(start) and not is_chat:
        raise ValueError("the chat has no BOS at its beginning")
    ids = ids[len(start) :]
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
            return read_content(role, ids[len(head) :], vocabulary)
    raise ValueError("a message has an unknown role")


def read_content(role: str | None, ids: Ids, vocabulary: Vocabulary) -> ReadMessage:
    """The message of a role (None: the document) whose content these ids are, without EOT or EOS."""
    is_code = vocabulary.modality(ids) != Modality.TEXT
    spans = (_marked if vocabulary.options.audio_markers else _bare)(role, ids, is_code, vocabulary)
    marker = (ids == vocabulary.audio_start) | (ids == vocabulary.audio_end)
    text = vocabulary.decode(ids[~is_code & ~marker])
    return ReadMessage(role, text, tuple(codes_of(codes, vocabulary) for codes in spans))


def _marked(role: str | None, ids: Ids, is_code: NDArray[np.bool_], vocabulary: Vocabulary) -> list[Ids]:
    """Codes of the spans between audio markers."""
    starts = np.flatnonzero(ids == vocabulary.audio_start)
    ends = np.flatnonzero(ids == vocabulary.audio_end)
    if len(starts) != len(ends) or (starts > ends).any() or (starts[1:] < ends[:-1]).any():
        raise ValueError("audio markers are not paired")
    spans = [ids[a:b][is_code[a:b]] for a, b in zip(starts, ends, strict=True)]
    if sum(map(len, spans)) != is_code.sum():
        raise ValueError("there are codes outside of audio spans")
    return spans


def _bare(role: str | None, ids: Ids, is_code: NDArray[np.bool_], vocabulary: Vocabulary) -> list[Ids]:
    """Codes of the spans without markers. An assistant's voice goes on behind text between its groups."""
    at = np.flatnonzero(is_code)
    runs = [at] if role == "assistant" else np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    return [ids[run] for run in runs if len(run)]
