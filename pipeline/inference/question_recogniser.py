"""The words of spoken questions, as a recogniser writes them."""

from pathlib import Path

from pipeline.models import resolve
from stages.decode import DecodeConfig
from stages.decode.whole import read_whole
from stages.stage import SAMPLE_RATE
from stages.tokenize.resample import to_16k
from stages.transcribe.whisper import WhisperRecogniser

RECOGNISER = "package:whisper-base"
"""The packaged one."""
_WINDOW = 30 * SAMPLE_RATE
"""Samples that Whisper hears at once."""
_SHORTEST = SAMPLE_RATE // 10
"""Samples of a window that may hold a word; of a few samples the model can't make a frame."""


class QuestionRecogniser:
    """A Whisper model on one core. Raises SetupError if it can't be loaded."""

    def __init__(self, reference: str = RECOGNISER) -> None:
        self._model = WhisperRecogniser(resolve(reference).path, "cpu", "int8", beam=5, threads=1)

    def words(self, question: Path) -> tuple[str, str]:
        """Text (empty without words) and language of a file. Raises DataError if it can't be read."""
        samples = to_16k(*read_whole(question, DecodeConfig()))
        language = "en"
        if self._model.languages != [language]:
            probabilities = self._model.language_probabilities(samples[:_WINDOW], 30)
            language = max(probabilities, key=lambda name: probabilities[name])
        starts = range(0, len(samples) - _SHORTEST + 1, _WINDOW)
        windows = [samples[start : start + _WINDOW] for start in starts]
        parts = [part.text for window in windows for part in self._model.recognise([window], language)]
        return "".join(parts).strip(), language
