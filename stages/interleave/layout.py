"""Lay out the messages of a draft as token ids, with the loss mask and the position of every part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.errors import DataError
from schemas.layout import chat_start, header, span, system_before
from schemas.sample import SCHEMA_VERSION, Draft, Message, Sample, Speech, Text
from schemas.vocabulary import Ids, Vocabulary
from stages.interleave.config import InterleaveConfig
from stages.interleave.streams import TokenStream, concatenate, lay_out_answer

VERSION = 2


def lay_out(draft: Draft, vocabulary: Vocabulary, config: InterleaveConfig) -> Sample:
    """Lay out a draft as token ids [tokens], with the loss mask [tokens] and the spans of every part.

    The loss covers the content of the last message and its EOT, but not its header; in a document it covers
    everything after BOS. Of the conversation history, only the latest turns within `history_tokens_max` are
    included.

    Raises:
        DataError: `too_long` if the sample exceeds `max_tokens`.
    """
    messages: Sequence[Message] = draft.messages
    if (system := system_before(messages[0].role, vocabulary)) is not None:
        messages = [Message("system", (Text(system),)), *messages]
    laid_out = _limit_history([_lay_out_message(message, vocabulary, config) for message in messages], config)
    before = np.empty(0, np.int32) if laid_out[0].role is None else chat_start(vocabulary)
    starts = len(before) + np.cumsum([0, *(len(message.ids) for message in laid_out)])
    length = int(starts[-1])
    if config.max_tokens is not None and length > config.max_tokens:
        raise DataError("too_long", f"{length} tokens, over the limit of {config.max_tokens} a sample")
    records = [message.record(int(start)) for message, start in zip(laid_out, starts, strict=False)]
    description = {"schema_version": SCHEMA_VERSION, "family": draft.family, "messages": records}
    return Sample(
        key=draft.key,
        family=draft.family,
        record=draft.record | description,
        tokens=np.concatenate([before, *(message.ids for message in laid_out)]),
        loss=(np.arange(length) >= length - len(laid_out[-1].ids) + len(laid_out[-1].head)).astype(np.uint8),
        audio=tuple(part.clip for message in laid_out for part in message.parts if isinstance(part, Speech)),
    )


@dataclass(frozen=True)
class _LaidOutMessage:
    """A message as token ids."""

    role: str | None
    parts: tuple[Text | Speech, ...]
    """The parts that the ids contain; `audio_only` and `text_only` modes leave out the others."""
    head: Ids
    content: TokenStream
    end: int
    vocabulary: Vocabulary

    @property
    def ids(self) -> Ids:
        return np.concatenate([self.head, self.content.ids, [self.end]], dtype=np.int32)

    def record(self, start: int) -> dict[str, Any]:
        """The message as stored in the record; its ids begin at index `start` of the sequence."""
        start += len(self.head)
        parts = [_part_record(part, self.vocabulary) for part in self.parts]
        edges = np.flatnonzero(np.diff(self.content.part, prepend=-1, append=-1))
        for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            parts[self.content.part[first]]["spans"].append([start + first, start + end])
        return {"role": self.role, "content": parts}


def _lay_out_message(message: Message, vocabulary: Vocabulary, config: InterleaveConfig) -> _LaidOutMessage:
    document = message.role is None
    head = np.array([vocabulary.bos], np.int32) if document else header(message.role or "", vocabulary)
    parts = message.content
    if message.interleaved and config.mode in _PART_TYPES:
        parts = tuple(part for part in parts if isinstance(part, _PART_TYPES[config.mode]))
    streams = [TokenStream.of(n, _ids(part, vocabulary)) for n, part in enumerate(parts)]
    spans = _spans(parts, streams)
    content = lay_out_answer(spans, config, vocabulary) if message.interleaved else concatenate(streams)
    end = vocabulary.eos if document else vocabulary.eot
    return _LaidOutMessage(message.role, parts, head, content, end, vocabulary)


_PART_TYPES: dict[str, type[Text] | type[Speech]] = {"audio_only": Speech, "text_only": Text}


def _spans(
    parts: Sequence[Text | Speech], streams: Sequence[TokenStream]
) -> list[tuple[list[TokenStream], list[TokenStream]]]:
    """(text streams, audio streams) of each span of an answer; a text after audio begins the next span."""
    spans: list[tuple[list[TokenStream], list[TokenStream]]] = [([], [])]
    for part, stream in zip(parts, streams, strict=True):
        if isinstance(part, Text) and spans[-1][1]:
            spans.append(([], []))
        spans[-1][isinstance(part, Speech)].append(stream)
    return spans


def _limit_history(messages: list[_LaidOutMessage], config: InterleaveConfig) -> list[_LaidOutMessage]:
    """Drop the oldest turns of the history until the rest has at most `history_tokens_max` tokens.

    The remaining history begins with a human message. The system prompt, the last question and its answer are
    always kept.
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


def _part_record(part: Text | Speech, vocabulary: Vocabulary) -> dict[str, Any]:
    """A part as stored in the record; `spans` is filled in once the ids are laid out."""
    if isinstance(part, Text):
        # Decoded from the ids, since a tokenizer that is not byte-level may have normalised the text.
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
