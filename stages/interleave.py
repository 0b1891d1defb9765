"""From messages to ids: text and codes in turns by a ratio, and which tokens the model is to learn.

The ratio 10:15 is the paper's: ten text ids, then three groups of codes (two linguistic, three
semantic each), until one side ends; the rest of the other follows.
"""

from itertools import chain, zip_longest
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, PositiveInt

from schemas.errors import DataError
from schemas.layout import header, span
from schemas.sample import SCHEMA_VERSION, Draft, Sample, Speech, Text
from schemas.vocabulary import Ids, Modality, Vocabulary
from stages.stage import Config

VERSION = 1


class InterleaveConfig(Config):
    ratio: tuple[PositiveInt, PositiveInt] = Field(
        (10, 15),
        description="text ids, then codes, in turns; a number of codes that is no multiple of 5 cuts groups",
    )
    max_tokens: PositiveInt | None = Field(
        8192, description="longest sample in tokens; longer ones are set aside (null: no limit)"
    )


def interleave(
    text: Ids, audio: Ids, ratio: tuple[int, int], vocabulary: Vocabulary
) -> list[tuple[int, Ids]]:
    """Text ids and audio spans in turns: (0, n text ids), (1, m codes), (0, n text ids), ..

    Markers are not counted: `<audio_start>` rides with the code behind it, `<audio_end>` with the one
    before it. What is left when one side ends follows. No run is empty; joined they are the sequence.
    """
    n, m = ratio
    cuts = np.flatnonzero(vocabulary.modality(audio) != Modality.TEXT)[m::m]
    cuts = cuts - (audio[cuts - 1] == vocabulary.audio_start)
    texts = [(0, run) for run in np.split(text, range(n, len(text), n))]
    audios = [(1, run) for run in np.split(audio, cuts)]
    return [run for run in chain.from_iterable(zip_longest(texts, audios)) if run is not None and len(run[1])]


def lay_out(draft: Draft, vocabulary: Vocabulary, config: InterleaveConfig) -> Sample:
    """The ids of a draft, with its loss mask and the spans of every part.

    The loss covers the content of the last message and its EOT, not its header; in a document all
    behind BOS. Raises DataError `too_long`.
    """
    sequence = _Sequence()
    messages = []
    learnt_from = 0
    for message in draft.messages:
        sequence.add([vocabulary.bos] if message.role is None else header(message.role, vocabulary))
        learnt_from = sequence.length
        parts = [_part(part, vocabulary) for part in message.content]
        runs = list(enumerate(ids for _, ids in parts))
        if message.interleaved:
            (_, text), (_, audio) = parts
            runs = interleave(text, audio, config.ratio, vocabulary)
        for part, run in runs:
            sequence.add(run, parts[part][0])
        sequence.add([vocabulary.eos if message.role is None else vocabulary.eot])
        messages.append({"role": message.role, "content": [described for described, _ in parts]})
    if config.max_tokens is not None and sequence.length > config.max_tokens:
        limit = f"over the limit of {config.max_tokens} a sample"
        raise DataError("too_long", f"{sequence.length} tokens, {limit}")
    described = {"schema_version": SCHEMA_VERSION, "family": draft.family, "messages": messages}
    clips = (part.clip for message in draft.messages for part in message.content if isinstance(part, Speech))
    return Sample(
        key=draft.key,
        family=draft.family,
        record=draft.record | described,
        tokens=np.concatenate(sequence.runs),
        loss=(np.arange(sequence.length) >= learnt_from).astype(np.uint8),
        audio=tuple(clips),
    )


class _Sequence:
    """Ids in the making."""

    def __init__(self) -> None:
        self.runs: list[Ids] = []
        self.length = 0

    def add(self, ids: ArrayLike, part: dict[str, Any] | None = None) -> None:
        """Append ids, and note in the part that they are its own."""
        run = np.asarray(ids, np.int32)
        self.runs.append(run)
        first, self.length = self.length, self.length + len(run)
        if part is None or first == self.length:
            return
        spans = part["spans"]
        if spans and spans[-1][1] == first:
            spans[-1][1] = self.length
        else:
            spans.append([first, self.length])


def _part(part: Text | Speech, vocabulary: Vocabulary) -> tuple[dict[str, Any], Ids]:
    """A part as the record describes it, and its ids."""
    if isinstance(part, Text):
        ids = vocabulary.encode(part.text)
        # The text as the ids say it: a tokenizer that is not byte-level may have normalised it.
        return {"type": "text", "text": vocabulary.decode(ids), "spans": []}, ids
    described: dict[str, Any] = {
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
    return described, span(part.codes, vocabulary)
