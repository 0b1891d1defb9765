"""Audio of recordings for people who judge what was kept and set aside."""

from collections.abc import Callable

from pipeline.inputs.first_sound import first_sound
from pipeline.inputs.spooled_audio import SpooledAudio
from schemas.errors import DataError
from schemas.recording import Recording
from stages.stage import Samples


class RecordingAudio:
    """Reads clips of recordings by their id."""

    def __init__(self, audio: SpooledAudio, find: Callable[[str], Recording | None]) -> None:
        """`find` returns the listed recording of an id; None if the input no longer has it."""
        self._audio = audio
        self._find = find

    def turn(self, recording: str, track: int, start: float, end: float) -> Samples:
        """Samples [n] of a track between two times in seconds. Raises DataError if they can't be read."""
        return self._audio.read(self._listed(recording), track, start, end)

    def first(self, recording: str, seconds: float) -> tuple[float, Samples]:
        """(start, samples [n]) of the first seconds of sound. Raises DataError if nothing can be decoded."""
        with self._audio.fetch(self._listed(recording)) as path:
            return first_sound(path, seconds)

    def clip(self, recording: str, track: int, start: float, end: float) -> Samples | None:
        """`turn`; None if it can't be read: moved, changed or gone since it was annotated."""
        try:
            return self.turn(recording, track, start, end)
        except DataError:
            return None

    def _listed(self, recording: str) -> Recording:
        found = self._find(recording)
        if found is None:
            raise DataError("vanished", "it is no longer among the inputs")
        return found
