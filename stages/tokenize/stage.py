"""The tokenize stage: the codes of every live turn."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from schemas.layout import GROUP_SECONDS, group_count
from schemas.recording import Codes, Problem, Recording, TokenizeColumn, Unit
from stages.gpu import device_of
from stages.stage import Samples, Stage
from stages.tokenize.config import TokenizeConfig
from stages.tokenize.tokenizer import Tokenizer

CPU_BATCH_SECONDS = 30.0
GPU_BATCH_SECONDS = 600.0
"""Seconds of speech per batch. A longer turn is a batch of its own. A thread holds one batch in memory."""

LiveTurn = tuple[Recording, int]
"""A recording and the index of one of its turns."""


class TokenizeStage(Stage[TokenizeConfig]):
    """Fills `Recording.tokenize`. A batch may hold turns of several recordings of the unit.

    Several threads read audio and encode concurrently, so that a GPU doesn't wait for files.
    """

    name = "tokenize"
    version = 2

    def _load_models(self) -> None:
        """Load the tokenizer. Raises SetupError if its files are missing, damaged or don't match."""
        on_gpu = device_of(self._config.device).type == "cuda"
        self._batch_seconds = GPU_BATCH_SECONDS if on_gpu else CPU_BATCH_SECONDS
        self._tokenizer = load_tokenizer(self._config, self._models, self._threads)

    def __call__(self, unit: Unit) -> Unit:
        """The unit with codes for every live turn.

        The contents of a batch depend only on the unit, never on the number of threads.
        """
        live = [
            (number, index)
            for number, recording in enumerate(unit.recordings)
            for index in recording.live_turns()
        ]
        turns = [(unit.recordings[number], index) for number, index in live]
        with ThreadPoolExecutor(max(1, self._threads)) as pool:
            encoded = pool.map(self._encode_turns, batches(turns, self._batch_seconds))
            results = dict(zip(live, (result for batch in encoded for result in batch), strict=True))
        return replace(
            unit,
            recordings=tuple(
                replace(recording, tokenize=_column(recording, number, results))
                for number, recording in enumerate(unit.recordings)
            ),
        )

    def _encode_turns(self, turns: Sequence[LiveTurn]) -> list[Codes | Problem]:
        """The codes of each turn, or the reason why it has none."""
        utterances: dict[int, Samples] = {}
        results: dict[int, Codes | Problem] = {}
        for position, (recording, index) in enumerate(turns):
            turn = recording.turns[index]
            try:
                utterances[position] = self._audio.read(recording, turn.track, turn.start, turn.end)
            except Exception as error:
                results[position] = self._problem_of(error, index)
        for position, result in zip(utterances, self._encode(list(utterances.values())), strict=True):
            if isinstance(result, Problem):
                results[position] = replace(result, turn=turns[position][1])
            else:
                results[position] = result
        return [results[position] for position in range(len(turns))]

    def _encode(self, utterances: Sequence[Samples]) -> list[Codes | Problem]:
        """The codes of each utterance [n], or its problem, without the index of the turn.

        If a batch fails, its utterances are encoded one by one to find the one at fault.
        """
        try:
            encoded = self._tokenizer.encode(utterances)
        except Exception as error:
            problem = self._problem_of(error)
            if len(utterances) == 1:
                return [problem]
            return [result for utterance in utterances for result in self._encode([utterance])]
        return [_checked(codes, len(samples)) for codes, samples in zip(encoded, utterances, strict=True)]


def load_tokenizer(config: TokenizeConfig, models: Mapping[str, Path], threads: int = 1) -> Tokenizer:
    """The tokenizer selected by the settings. `models` maps every reference in `config.models` to its files.

    Raises SetupError if files are missing, damaged or don't match each other.
    """
    if config.tokenizer == "step-audio":
        import torch

        from stages.tokenize.step_audio.checkpoint import read
        from stages.tokenize.step_audio.tokenizer import StepAudioTokenizer

        torch.set_num_threads(1)
        return StepAudioTokenizer(
            read(models[config.checkpoint]), config.precision, config.dither, config.device
        )

    from stages.tokenize.trained import checkpoint

    if checkpoint.describes(models[config.codebooks]):
        import torch

        from stages.tokenize.trained.tokenizer import TrainedTokenizer
        from stages.tokenize.whisper_weights import read_whisper, weights_sha256

        torch.set_num_threads(1)
        model = models[config.model]
        codes = checkpoint.load(models[config.codebooks])
        return TrainedTokenizer(read_whisper(model), weights_sha256(model), codes, config.device)

    from stages.tokenize.codebooks import Codebooks
    from stages.tokenize.whisper import WhisperEncoder, WhisperTokenizer

    codebooks = Codebooks.load(models[config.codebooks])
    return WhisperTokenizer(WhisperEncoder(models[config.model], threads, config.device), codebooks)


def batches(turns: Sequence[LiveTurn], seconds: float) -> list[list[LiveTurn]]:
    """The turns in order, in batches of at most `seconds`; a longer turn is a batch of its own."""
    result: list[list[LiveTurn]] = []
    filled = seconds
    for recording, index in turns:
        length = recording.turns[index].seconds
        if filled + length > seconds:
            result.append([])
            filled = 0.0
        result[-1].append((recording, index))
        filled += length
    return result


def _checked(codes: Codes, samples: int) -> Codes | Problem:
    if not group_count(codes):
        least = f"one group of codes ({1000 * GROUP_SECONDS:.0f} ms)"
        return Problem("too_short", f"{samples / 16:.0f} ms are too short for {least}")
    return codes


def _column(
    recording: Recording, number: int, results: Mapping[tuple[int, int], Codes | Problem]
) -> TokenizeColumn:
    """The column of the unit's recording `number`, from the results by (number, index of the turn)."""
    if recording.set_aside:
        return TokenizeColumn(())
    own = [results.get((number, index)) for index in range(len(recording.turns))]
    return TokenizeColumn(
        tuple(result if isinstance(result, Codes) else None for result in own),
        tuple(result for result in own if isinstance(result, Problem)),
    )
