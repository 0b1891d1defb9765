"""The stage: every live turn of a recording as codes."""

from collections.abc import Mapping
from pathlib import Path

from schemas.errors import DataError
from schemas.recording import Codes, Problem, Recording, Tokenize, Unit
from stages.stage import AudioSource, each_recording, problem_of
from stages.tokenize.config import TokenizeConfig
from stages.tokenize.tokenizer import Tokenizer


class TokenizeStage:
    """Fills `Recording.tokenize`. One turn's samples are in memory at a time for every thread."""

    name = "tokenize"
    version = 1

    def __init__(
        self, config: TokenizeConfig, audio: AudioSource, models: Mapping[str, Path], threads: int = 1
    ) -> None:
        self._config = config
        self._audio = audio
        self._models = models
        self._threads = threads

    def setup(self) -> None:
        """Load the tokenizer. Raises SetupError where its files are missing, damaged or don't fit."""
        from stages.tokenize.codebooks import Codebooks
        from stages.tokenize.whisper import WhisperEncoder, WhisperTokenizer

        codebooks = Codebooks.load(self._models[self._config.codebooks])
        encoder = WhisperEncoder(self._models[self._config.model], self._threads)
        self._tokenizer: Tokenizer = WhisperTokenizer(encoder, codebooks)

    def __call__(self, unit: Unit) -> Unit:
        """The unit with codes for every turn that is still in."""
        return each_recording(
            unit, self._recording, lambda problems: Tokenize((), problems), self.name, self._threads
        )

    def _recording(self, recording: Recording) -> Tokenize:
        codes: list[Codes | None] = [None] * len(recording.turns)
        problems: list[Problem] = []
        for index in recording.live_turns():
            try:
                codes[index] = self._turn(recording, index)
            except Exception as error:
                problems.append(problem_of(error, index))
        return Tokenize(tuple(codes), tuple(problems))

    def _turn(self, recording: Recording, index: int) -> Codes:
        turn = recording.turns[index]
        samples = self._audio.read(recording, turn.track, turn.start, turn.end)
        [codes] = self._tokenizer.encode([samples])
        if len(codes.linguistic) < 2 or len(codes.semantic) < 3:
            raise DataError(
                "too_short", f"{len(samples) / 16:.0f} ms are too short for one group of codes (120 ms)"
            )
        return codes
