"""Streams of ids that know which part of a message each id belongs to, and how two become one.

The ratio 10:15 is the paper's: ten text ids, then three groups of codes (two linguistic, three
semantic each), until one side ends; the rest of the other follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from schemas.vocabulary import Ids, Modality, Vocabulary
from stages.interleave.config import InterleaveConfig


@dataclass(frozen=True)
class TokenStream:
    """Ids [n] and the index of the part [n] that each comes from."""

    ids: Ids
    part: NDArray[np.intp]

    @classmethod
    def of(cls, part: int, ids: Ids) -> "TokenStream":
        return cls(ids, np.full(len(ids), part, np.intp))


def joined(streams: Sequence[TokenStream]) -> TokenStream:
    """One behind another."""
    ids = [np.empty(0, np.int32), *(stream.ids for stream in streams)]
    parts = [np.empty(0, np.intp), *(stream.part for stream in streams)]
    return TokenStream(np.concatenate(ids), np.concatenate(parts))


def answer(
    spans: Sequence[tuple[Sequence[TokenStream], Sequence[TokenStream]]],
    config: InterleaveConfig,
    vocabulary: Vocabulary,
) -> TokenStream:
    """One answer of (texts, voices) spans, by the mode and the concatenation that the recipe names."""
    if config.concatenation == "pre_interleaved":
        return joined([_merged(joined(texts), joined(voices), config, vocabulary) for texts, voices in spans])
    text = joined([stream for texts, _ in spans for stream in texts])
    audio = joined([stream for _, voices in spans for stream in voices])
    if config.concatenation == "marker_removal":
        audio = _without_inner_markers(audio, vocabulary)
    return _merged(text, audio, config, vocabulary)


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


def _merged(
    text: TokenStream, audio: TokenStream, config: InterleaveConfig, vocabulary: Vocabulary
) -> TokenStream:
    if config.mode != "interleaved" or not len(text.ids) or not len(audio.ids):
        return joined([text, audio])
    runs = interleave(text.ids, audio.ids, config.ratio, vocabulary)
    spoken = np.concatenate([np.full(len(run), side, bool) for side, run in runs])
    part = np.empty(len(spoken), np.intp)
    part[~spoken], part[spoken] = text.part, audio.part
    return TokenStream(np.concatenate([run for _, run in runs]), part)


def _without_inner_markers(audio: TokenStream, vocabulary: Vocabulary) -> TokenStream:
    """All voices between the first start marker and the last end marker."""
    keep = (audio.ids != vocabulary.audio_start) & (audio.ids != vocabulary.audio_end)
    keep[:1] = keep[-1:] = True
    return TokenStream(audio.ids[keep], audio.part[keep])
