"""Token streams that record which part of a message each id belongs to, and how to interleave two of them.

The default ratio of 10:15 is the paper's: ten text ids, then three groups of codes (two linguistic and three
semantic codes each), until one stream ends; the rest of the other one follows.
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
    """Token ids [tokens], and for each id the index [tokens] of the part that it comes from."""

    ids: Ids
    part: NDArray[np.intp]

    @classmethod
    def of(cls, part: int, ids: Ids) -> "TokenStream":
        return cls(ids, np.full(len(ids), part, np.intp))


def concatenate(streams: Sequence[TokenStream]) -> TokenStream:
    """Concatenate streams in order."""
    ids = [np.empty(0, np.int32), *(stream.ids for stream in streams)]
    parts = [np.empty(0, np.intp), *(stream.part for stream in streams)]
    return TokenStream(np.concatenate(ids), np.concatenate(parts))


def lay_out_answer(
    spans: Sequence[tuple[Sequence[TokenStream], Sequence[TokenStream]]],
    config: InterleaveConfig,
    vocabulary: Vocabulary,
) -> TokenStream:
    """Lay out an answer of (text streams, audio streams) spans in the configured mode and concatenation."""
    if config.concatenation == "pre_interleaved":
        return concatenate(
            [_merge(concatenate(texts), concatenate(audios), config, vocabulary) for texts, audios in spans]
        )
    text = concatenate([stream for texts, _ in spans for stream in texts])
    audio = concatenate([stream for _, audios in spans for stream in audios])
    if config.concatenation == "marker_removal":
        audio = _without_inner_markers(audio, vocabulary)
    return _merge(text, audio, config, vocabulary)


def interleave(
    text: Ids, audio: Ids, ratio: tuple[int, int], vocabulary: Vocabulary
) -> list[tuple[int, Ids]]:
    """Alternate text ids and audio: (0, n text ids), (1, m codes), (0, n text ids), ...

    Audio markers do not count towards m: `<audio_start>` stays with the code after it, `<audio_end>` with the
    code before it. When one side ends, the rest of the other one follows.

    Args:
        text: text ids [text tokens].
        audio: codes with their audio markers [audio tokens].
        ratio: (n, m), the number of text ids and of codes that alternate.

    Returns:
        Non-empty runs of (0 for text or 1 for audio, ids), whose concatenation is the interleaved sequence.
    """
    n, m = ratio
    cuts = np.flatnonzero(vocabulary.modality(audio) != Modality.TEXT)[m::m]
    cuts = cuts - (audio[cuts - 1] == vocabulary.audio_start)
    text_runs = [(0, run) for run in np.split(text, range(n, len(text), n))]
    audio_runs = [(1, run) for run in np.split(audio, cuts)]
    return [
        run
        for run in chain.from_iterable(zip_longest(text_runs, audio_runs))
        if run is not None and len(run[1])
    ]


def _merge(
    text: TokenStream, audio: TokenStream, config: InterleaveConfig, vocabulary: Vocabulary
) -> TokenStream:
    if config.mode != "interleaved" or not len(text.ids) or not len(audio.ids):
        return concatenate([text, audio])
    runs = interleave(text.ids, audio.ids, config.ratio, vocabulary)
    is_audio = np.concatenate([np.full(len(run), side, bool) for side, run in runs])
    part = np.empty(len(is_audio), np.intp)
    part[~is_audio], part[is_audio] = text.part, audio.part
    return TokenStream(np.concatenate([run for _, run in runs]), part)


def _without_inner_markers(audio: TokenStream, vocabulary: Vocabulary) -> TokenStream:
    """Keep only the first start marker and the last end marker."""
    keep = (audio.ids != vocabulary.audio_start) & (audio.ids != vocabulary.audio_end)
    keep[:1] = keep[-1:] = True
    return TokenStream(audio.ids[keep], audio.part[keep])
