"""Synthesised audio: decoding, styles, and joining utterances."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.stage import Samples
from stages.synthesize.styles import StyleConfig

MARGIN = 0.2
"""Seconds of silence at the start and end of a recording, and between the halves of an answer."""

LEVELS = 32768
"""Levels of a sample of 16 bits below and above 0."""


@dataclass(frozen=True)
class SynthesizedAudio:
    samples: Samples
    """Mono [n], float32."""
    rate: int
    """Sample rate, Hz."""


def apply_style(utterance: SynthesizedAudio, style: StyleConfig) -> SynthesizedAudio:
    """Apply the pitch and loudness of a style to an utterance that was spoken at its `pace`."""
    samples = utterance.samples
    if style.semitones:
        import soxr

        # Resampling to fewer samples at the same nominal rate plays faster, which raises the pitch.
        samples = soxr.resample(samples, 1.0, 2 ** (-style.semitones / 12)).astype(np.float32)
    samples = samples * np.float32(10 ** (style.gain_db / 20))
    # A voice may already be at full scale: tanh keeps quiet samples as they are and peaks below 1.
    return SynthesizedAudio(np.tanh(samples) if style.gain_db > 0 else samples, utterance.rate)


def read_audio(data: bytes) -> SynthesizedAudio:
    """Decode an audio file of any format. Raises ValueError if it has no audio."""
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
    """Join utterances with `pauses` (in seconds) between them.

    Returns the samples [n], their rate in Hz, and the start and end of each utterance in seconds.
    """
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
    """The samples at another rate, in Hz."""
    import soxr

    if utterance.rate == rate:
        return utterance.samples
    return np.asarray(soxr.resample(utterance.samples, utterance.rate, rate), np.float32)
