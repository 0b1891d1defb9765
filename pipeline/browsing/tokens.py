"""The tokens of turns, spoken by a vocoder: all that a model hears of them."""

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.inference.wav import wav
from pipeline.versions.provenance import codes_of
from pipeline.versions.reader import Version
from schemas.errors import DataError
from schemas.layout import merged

if TYPE_CHECKING:
    from pipeline.export.annotated import AnnotatedRecordings
    from pipeline.inference.answer_vocoder import AnswerVocoder

SAMPLE_RATE = 22_050
"""Of vocoders, in Hz."""
SEED = 0


class SpokenTokens:
    """Speaks the tokens of a version's turns. Vocoder and annotations are opened at the first one."""

    def __init__(self, version: Version, vocoder: Path | None = None) -> None:
        """`vocoder` is the folder of one; None is the bundled one."""
        self._version = version
        self._directory = vocoder
        self._lock = threading.Lock()

    def wav(self, recording: str, index: int) -> bytes:
        """16-bit mono WAV of the turn with an index in a recording.

        Raises DataError for a turn without tokens, SetupError without annotations, and without a vocoder for
        the tokens of this version.
        """
        with self._lock:
            tokenized = self._recordings.find(recording).tokenize
            turns = tokenized.turns if tokenized else ()
            codes = turns[index] if index < len(turns) else None
            if codes is None:
                raise DataError("no_codes", "the turn has no tokens")
            spoken = self._vocoder.vocoder.speak(merged(codes).tolist(), seed=SEED)
            return wav(spoken.cpu().numpy(), SAMPLE_RATE)

    @cached_property
    def _recordings(self) -> "AnnotatedRecordings":
        from pipeline.export.annotated import AnnotatedRecordings

        return AnnotatedRecordings(self._version)

    @cached_property
    def _vocoder(self) -> "AnswerVocoder":
        from pipeline.inference.answer_vocoder import open_answer_vocoder

        vocoder = open_answer_vocoder(self._directory, stream=False)
        vocoder.check(codes_of(self._version.manifest)["models"])
        return vocoder
