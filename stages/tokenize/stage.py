"""The stage: every live turn of a unit as codes."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from schemas.errors import DataError, SetupError
from schemas.recording import Codes, Problem, Recording, TokenizeColumn, Unit
from stages.stage import AudioSource, Samples, problem_of
from stages.tokenize.config import TokenizeConfig
from stages.tokenize.tokenizer import Tokenizer

CPU_SECONDS = 30.0
GPU_SECONDS = 600.0
"""Speech that goes to the tokenizer at once, or one turn where it is longer: what a thread has in memory."""

LiveTurn = tuple[Recording, int]


class TokenizeStage:
    """Fills `Recording.tokenize`: turns of all recordings of a unit go to the tokenizer in batches.

    Several threads read and encode beside each other, so that a GPU need not wait for files.
    """

    name = "tokenize"
    version = 2

    def __init__(
        self, config: TokenizeConfig, audio: AudioSource, models: Mapping[str, Path], threads: int = 1
    ) -> None:
        self._config = config
        self._audio = audio
        self._models = models
        self._threads = threads

    def setup(self) -> None:
        """Load the tokenizer. Raises SetupError where its files are missing, damaged or don't fit."""
        import ctranslate2

        self._seconds = GPU_SECONDS if ctranslate2.get_cuda_device_count() else CPU_SECONDS
        self._tokenizer = load_tokenizer(self._config, self._models, self._threads)

    def __call__(self, unit: Unit) -> Unit:
        """The unit with codes for every turn that is still in.

        What goes into a batch depends on the unit alone, never on the number of threads.
        """
        live = [
            (place, index)
            for place, recording in enumerate(unit.recordings)
            for index in recording.live_turns()
        ]
        turns = [(unit.recordings[place], index) for place, index in live]
        with ThreadPoolExecutor(max(1, self._threads)) as pool:
            answers = [
                answer for batch in pool.map(self._batch, batches(turns, self._seconds)) for answer in batch
            ]
        found = dict(zip(live, answers, strict=True))
        return replace(
            unit,
            recordings=tuple(
                replace(recording, tokenize=_column(recording, place, found))
                for place, recording in enumerate(unit.recordings)
            ),
        )

    def _batch(self, turns: Sequence[LiveTurn]) -> list[Codes | Problem]:
        """Codes of each turn, or why it has none."""
        heard: dict[int, Samples] = {}
        answers: dict[int, Codes | Problem] = {}
        for place, (recording, index) in enumerate(turns):
            turn = recording.turns[index]
            try:
                heard[place] = self._audio.read(recording, turn.track, turn.start, turn.end)
            except Exception as error:
                answers[place] = problem_of(error, index)
        for place, codes in zip(heard, self._encoded(list(heard.values())), strict=True):
            try:
                answers[place] = _long_enough(codes, len(heard[place]))
            except Exception as error:
                answers[place] = problem_of(error, turns[place][1])
        return [answers[place] for place in range(len(turns))]

    def _encoded(self, utterances: Sequence[Samples]) -> list[Codes | Exception]:
        """Codes of each utterance, or what is wrong with it alone."""
        try:
            return list(self._tokenizer.encode(utterances))
        except (SetupError, MemoryError):
            raise
        except Exception as error:
            if len(utterances) == 1:
                return [error]
            return [codes for utterance in utterances for codes in self._encoded([utterance])]


def load_tokenizer(config: TokenizeConfig, models: Mapping[str, Path], threads: int = 1) -> Tokenizer:
    """The tokenizer that the settings name. `models` maps every reference in `config.models` to its files.

    Raises SetupError where they are missing, damaged or don't fit.
    """
    if config.tokenizer == "step-audio":
        import torch

        from stages.tokenize.step_audio.checkpoint import read
        from stages.tokenize.step_audio.tokenizer import StepAudioTokenizer

        torch.set_num_threads(1)
        return StepAudioTokenizer(read(models[config.checkpoint]), config.precision, config.dither)

    from stages.tokenize.codebooks import Codebooks
    from stages.tokenize.whisper import WhisperEncoder, WhisperTokenizer

    codebooks = Codebooks.load(models[config.codebooks])
    return WhisperTokenizer(WhisperEncoder(models[config.model], threads), codebooks)


def batches(turns: Sequence[LiveTurn], seconds: float) -> list[list[LiveTurn]]:
    """Turns in their order, in groups of at most so many seconds, or of one that is longer."""
    found: list[list[LiveTurn]] = []
    filled = seconds
    for recording, index in turns:
        length = recording.turns[index].seconds
        if filled + length > seconds:
            found.append([])
            filled = 0.0
        found[-1].append((recording, index))
        filled += length
    return found


def _long_enough(codes: Codes | Exception, samples: int) -> Codes:
    if isinstance(codes, Exception):
        raise codes
    if len(codes.linguistic) < 2 or len(codes.semantic) < 3:
        raise DataError("too_short", f"{samples / 16:.0f} ms are too short for one group of codes (120 ms)")
    return codes


def _column(
    recording: Recording, place: int, found: Mapping[tuple[int, int], Codes | Problem]
) -> TokenizeColumn:
    if recording.set_aside:
        return TokenizeColumn(())
    answers = [found.get((place, index)) for index in range(len(recording.turns))]
    return TokenizeColumn(
        tuple(answer if isinstance(answer, Codes) else None for answer in answers),
        tuple(answer for answer in answers if isinstance(answer, Problem)),
    )
