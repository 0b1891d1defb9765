"""Choice of the audio stream of a file with several."""

from contextlib import suppress
from pathlib import Path

import av

from stages.decode.part_reader import as_float, best_stream, open_container
from stages.decode.parts import Part
from stages.decode.survey import Survey

SILENT_DBFS = -60.0
"""A stream whose loudest 30 ms are below this has nothing to hear, if another stream has."""

MUCH_LIVELIER = 2.0
"""The stream that players choose gives way to another whose level varies this many times as much: speech has
pauses and syllables, noise, tones and most music don't."""


def spoken_stream(path: Path, part: Part) -> int:
    """Index of the audio stream in which somebody speaks; if several may, the one that players choose."""
    with open_container(path, part) as (_, container):
        streams = list(container.streams.audio)
        best = best_stream(container)
        surveys: dict[int, Survey] = {}
        for packet in container.demux(streams):
            number = streams.index(packet.stream)
            with suppress(av.error.FFmpegError):
                for frame in packet.decode():
                    samples = as_float(frame).mean(axis=1, keepdims=True)
                    survey = surveys.setdefault(number, Survey(frame.sample_rate, 1))
                    survey.add(samples)
    heard = {n: s.level_spread() for n, s in surveys.items() if s.loudest_dbfs > SILENT_DBFS}
    if not heard:
        return best
    liveliest = max(heard, key=lambda n: (heard[n], -n))
    return best if heard.get(best, 0.0) * MUCH_LIVELIER > heard[liveliest] else liveliest
