"""Choice of the audio stream of a file with several."""

from contextlib import suppress
from pathlib import Path

import av

from stages.decode.part_reader import as_float, best_stream, open_container
from stages.decode.parts import Part
from stages.decode.survey import Survey

HEARD_DB = 40.0
"""A stream has nothing to hear if its loudest 30 ms are this many dB below those of the loudest stream."""

MUCH_LIVELIER = 1.3
"""The stream that players choose gives way to another whose level varies this many times as much. Measured
standard deviations in dB: 7 to 9 for speech, 3 to 6.5 for music and speech in noise, 0 to 0.5 for noise and
tones."""


def spoken_stream(path: Path, part: Part) -> int:
    """Index of the audio stream in which somebody speaks; if several may, the one that players choose."""
    with open_container(path, part) as (_, container):
        audio = list(container.streams.audio)
        best = best_stream(container)
        surveys: dict[int, Survey] = {}
        with suppress(av.error.FFmpegError):  # damage is told by who reads the stream that is chosen
            for packet in container.demux([stream for stream in audio if stream.codec_context]):
                number = audio.index(packet.stream)
                with suppress(av.error.FFmpegError):
                    for frame in packet.decode():
                        samples = as_float(frame)
                        survey = surveys.setdefault(number, Survey(frame.sample_rate, samples.shape[1]))
                        if samples.shape[1] == survey.channels:
                            survey.add(samples)
    loudest = max((survey.loudest_dbfs for survey in surveys.values()), default=0.0)
    heard = {n: s.level_spread() for n, s in surveys.items() if s.loudest_dbfs > loudest - HEARD_DB}
    if not heard:
        return best
    liveliest = max(heard, key=lambda n: (heard[n], -n))
    return best if heard.get(best, 0.0) * MUCH_LIVELIER > heard[liveliest] else liveliest
