"""Audio of turns, read from the recordings that a version was made of."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.inference.wav import wav
from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.report.recording_audio import RecordingAudio
from pipeline.versions.listed import RecordingFinder
from pipeline.versions.reader import Version
from stages.decode import DecodeConfig
from stages.stage import SAMPLE_RATE

MARGIN = 1.0
"""Seconds of sound before and after a turn."""
LONGEST = 120.0
"""Seconds of a turn that are heard at most."""


class TurnAudio:
    """Reads turns of a version as WAV. A recording is decoded once, and kept until the page is closed."""

    def __init__(self, audio: RecordingAudio) -> None:
        self._audio = audio
        # One at a time, so that no recording is decoded twice.
        self._lock = threading.Lock()

    def clip(self, recording: str, track: int, start: float, end: float) -> tuple[float, bytes]:
        """(where it starts, 16-bit mono WAV) of a turn with a little around it; times in seconds.

        Raises DataError if the recording can't be read: moved, changed or gone.
        """
        first = max(0.0, start - MARGIN)
        with self._lock:
            samples = self._audio.turn(recording, track, first, min(end + MARGIN, first + LONGEST))
        return first, wav(samples, SAMPLE_RATE)


@contextmanager
def audio_of(version: Version) -> Iterator[TurnAudio]:
    """The audio of a version's turns while the context is open."""
    config = DecodeConfig.model_validate(version.manifest.recipe["decode"])
    with SpooledAudio(scratch_folder(None), config, version.manifest.stages["decode"]) as audio:
        yield TurnAudio(RecordingAudio(audio, RecordingFinder(version).find))


def piece(content: bytes, asked: str | None) -> tuple[int, int] | None:
    """The first byte and the end of the one range that a `Range` header asks for; None for everything.

    Raises ValueError for a range beyond the content.
    """
    unit, _, ranges = (asked or "").partition("=")
    first, dash, last = ranges.strip().partition("-")
    if (
        unit.strip() != "bytes"
        or not dash
        or not all(part == "" or part.isdecimal() for part in (first, last))
    ):
        return None
    size = len(content)
    if not first and not last:
        return None
    if not first:
        start, end = size - min(int(last or 0), size), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise ValueError("the range is not in the content")
    return start, end
