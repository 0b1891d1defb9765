"""What was spoken, as samples: read, styled, join_utterances."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.stage import Samples
from stages.synthesize.styles import StyleConfig

MARGIN = 0.2
"""Seconds of silence around all that is said, and between the halves of an answer."""


@dataclass(frozen=True)
class SynthesizedAudio:
    samples: Samples
    """[n] float32, one channel."""
    rate: int
    """Hz"""


def apply_style(utterance: SynthesizedAudio, style: StyleConfig) -> SynthesizedAudio:
    """Of what was read at the pace of a style, the sound in its pitch and loudness."""
    samples = utterance.samples
    if style.semitones:
        import soxr

        # What is played faster is higher: here at the same rate, in fewer samples.
        samples = soxr.resample(samples, 1.0, 2 ** (-style.semitones / 12)).astype(np.float32)
    return SynthesizedAudio(samples * np.float32(10 ** (style.gain_db / 20)), utterance.rate)


def read_audio(data: bytes) -> SynthesizedAudio:
    """The sound in a file of any format. Raises ValueError where there is none."""
    import av

    blocks: list[Samples] = []
    rate = 0
    try:
        with av.open(io.BytesIO(data)) as container:
            for frame in _mono(container):
                rate = frame.sample_rate
                blocks.append(frame.to_ndarray().ravel())
    except (av.error.FFmpegError, IndexError, ValueError):
        raise ValueError("no audio") from None
    if not blocks:
        raise ValueError("no audio")
    return SynthesizedAudio(np.concatenate(blocks).astype(np.float32), rate)


def _mono(container: Any) -> Iterator[Any]:
    import av

    resampler = av.AudioResampler(format="flt", layout="mono")
    for frame in container.decode(audio=0):
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def join_utterances(
    utterances: Sequence[SynthesizedAudio], pauses: Sequence[float]
) -> tuple[Samples, int, list[tuple[float, float]]]:
    """Utterances with pauses between: samples [n], their rate in Hz, start and end of each in seconds."""
    rate = max(utterance.rate for utterance in utterances)
    pieces = [np.zeros(round(MARGIN * rate), np.float32)]
    times: list[tuple[float, float]] = []
    for utterance, pause in zip(utterances, (0.0, *pauses), strict=True):
        pieces.append(np.zeros(round(pause * rate), np.float32))
        start = sum(map(len, pieces)) / rate
        pieces.append(resample(utterance, rate))
        times.append((round(start, 3), round(sum(map(len, pieces)) / rate, 3)))
    pieces.append(np.zeros(round(MARGIN * rate), np.float32))
    return np.concatenate(pieces), rate, times


def resample(utterance: SynthesizedAudio, rate: int) -> Samples:
    """The samples at another rate, Hz."""
    import soxr

    if utterance.rate == rate:
        return utterance.samples
    return np.asarray(soxr.resample(utterance.samples, utterance.rate, rate), np.float32)
