"""From a draft's messages to the ids, the loss mask and the place of every part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.errors import DataError
from schemas.layout import header, span
from schemas.sample import SCHEMA_VERSION, Draft, Message, Sample, Speech, Text
from schemas.vocabulary import Ids, Vocabulary
from stages.interleave.config import InterleaveConfig
from stages.interleave.streams import TokenStream, answer, joined

VERSION = 2


def lay_out(draft: Draft, vocabulary: Vocabulary, config: InterleaveConfig) -> Sample:
    """The ids of a draft, with its loss mask and the spans of every part.

    The loss covers the content of the last message and its EOT, not its header; in a document all
    behind BOS. Of earlier turns only the last that fit the recipe's limit are laid out. Raises DataError
    `too_long`.
    """
    laid = _within_limit([_laid(message, vocabulary, config) for message in draft.messages], config)
    starts = np.cumsum([0, *(len(message.ids) for message in laid)])
    length = int(starts[-1])
    if config.max_tokens is not None and length > config.max_tokens:
        raise DataError("too_long", f"{length} tokens, over the limit of {config.max_tokens} a sample")
    messages = [message.described(int(start)) for message, start in zip(laid, starts, strict=False)]
    described = {"schema_version": SCHEMA_VERSION, "family": draft.family, "messages": messages}
    return Sample(
        key=draft.key,
        family=draft.family,
        record=draft.record | described,
        tokens=np.concatenate([message.ids for message in laid]),
        loss=(np.arange(length) >= length - len(laid[-1].ids) + len(laid[-1].head)).astype(np.uint8),
        audio=tuple(part.clip for message in laid for part in message.parts if isinstance(part, Speech)),
    )


@dataclass(frozen=True)
class _Laid:
    """A message in ids."""

    role: str | None
    parts: tuple[Text | Speech, ...]
    """Those that the ids hold: of an answer in one mode alone the other side is left out."""
    head: Ids
    content: TokenStream
    end: int
    vocabulary: Vocabulary

    @property
    def ids(self) -> Ids:
        return np.concatenate([self.head, self.content.ids, [self.end]], dtype=np.int32)

    def described(self, start: int) -> dict[str, Any]:
        """The message as the record has it, its ids beginning at `start` of the sequence."""
        start += len(self.head)
        found = [_described(part, self.vocabulary) for part in self.parts]
        edges = np.flatnonzero(np.diff(self.content.part, prepend=-1, append=-1))
        for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            found[self.content.part[first]]["spans"].append([start + first, start + end])
        return {"role": self.role, "content": found}


def _laid(message: Message, vocabulary: Vocabulary, config: InterleaveConfig) -> _Laid:
    document = message.role is None
    head = np.array([vocabulary.bos], np.int32) if document else header(message.role or "", vocabulary)
    parts = message.content
    if message.interleaved and config.mode in _ONE_SIDE:
        parts = tuple(part for part in parts if isinstance(part, _ONE_SIDE[config.mode]))
    streams = [TokenStream.of(n, _ids(part, vocabulary)) for n, part in enumerate(parts)]
    spans = _spans(parts, streams)
    content = answer(spans, config, vocabulary) if message.interleaved else joined(streams)
    end = vocabulary.eos if document else vocabulary.eot
    return _Laid(message.role, parts, head, content, end, vocabulary)


_ONE_SIDE: dict[str, type[Text] | type[Speech]] = {"audio_only": Speech, "text_only": Text}


def _spans(
    parts: Sequence[Text | Speech], streams: Sequence[TokenStream]
) -> list[tuple[list[TokenStream], list[TokenStream]]]:
    """(texts, voices) of each span of an answer: a text that comes after a voice begins the next span."""
    spans: list[tuple[list[TokenStream], list[TokenStream]]] = [([], [])]
    for part, stream in zip(parts, streams, strict=True):
        if isinstance(part, Text) and spans[-1][1]:
            spans.append(([], []))
        spans[-1][isinstance(part, Speech)].append(stream)
    return spans


def _within_limit(messages: list[_Laid], config: InterleaveConfig) -> list[_Laid]:
    """The messages without the oldest turns, as far as these go over the limit of tokens.

    What is left begins with a human, and a system prompt and the last question and answer always stay.
    """
    first = 1 if messages[0].role == "system" else 0
    history, last = messages[first:-2], messages[max(first, len(messages) - 2) :]
    while history and (
        history[0].role != "human" or sum(len(m.ids) for m in history) > config.history_tokens_max
    ):
        history = history[1:]
    return [*messages[:first], *history, *last]


def _ids(part: Text | Speech, vocabulary: Vocabulary) -> Ids:
    return vocabulary.encode(part.text) if isinstance(part, Text) else span(part.codes, vocabulary)


def _described(part: Text | Speech, vocabulary: Vocabulary) -> dict[str, Any]:
    """A part as the record describes it."""
    if isinstance(part, Text):
        # The text as the ids say it: a tokenizer that is not byte-level may have normalised it.
        return {"type": "text", "text": vocabulary.decode(vocabulary.encode(part.text)), "spans": []}
    return {
        "type": "audio",
        "text": part.text,
        "speaker": part.speaker,
        "turn": part.turn,
        "recording": part.clip.recording,
        "track": part.clip.track,
        "start": part.clip.start,
        "end": part.clip.end,
        "spans": [],
    }
