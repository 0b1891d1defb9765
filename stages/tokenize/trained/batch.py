"""Batches of training: clean and disturbed spectra of the same utterances, their texts and prosody."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.stage import Samples
from stages.tokenize.tokenizer import peak_normalised
from stages.tokenize.trained.changes import ChangeConfig, delayed, disturbed, resampled
from stages.tokenize.trained.mel import WhisperMel
from stages.tokenize.trained.prosody import Levels, energy_levels, pitch_levels
from stages.tokenize.trained.speech import SpokenText, TrainingSpeech
from stages.tokenize.windows import SEMANTIC_STATES, STATE, WINDOW, padded_length

NEIGHBOURS = 400
"""Utterances that are sorted by length before they are divided into batches."""


@dataclass(frozen=True)
class SpeechBatch:
    """B utterances, padded with silence to T states."""

    clean_BMF: Tensor
    """Log-mel spectra, F = 2 T."""
    disturbed_BMF: Tensor
    states_B: Tensor
    """Number of states without the padding."""
    tokens_BN: Tensor
    said_BN: Tensor
    """True for the tokens that are to be predicted: neither the prompt nor padding."""
    pitch_BS: Tensor
    energy_BS: Tensor


class Batches:
    """Batches of about `seconds` of speech, in an order that depends on seed and step alone."""

    def __init__(
        self,
        speech: TrainingSpeech,
        mel: WhisperMel,
        seconds: float,
        seed: int,
        changes: ChangeConfig | None = None,
    ) -> None:
        self._speech = speech
        self._mel = mel
        self._seconds = seconds
        self._seed = seed
        self._changes = changes or ChangeConfig()

    def after(self, step: int) -> Iterator[SpeechBatch]:
        """The batches from `step` on, without end."""
        number = 0
        epoch = 0
        while True:
            for members in self._epoch(epoch):
                if number >= step:
                    yield self._batch(members, np.random.default_rng([self._seed, 1, number]))
                number += 1
            epoch += 1

    def _epoch(self, epoch: int) -> list[list[int]]:
        """Numbers of the utterances of each batch."""
        generator = np.random.default_rng([self._seed, 0, epoch])
        order = generator.permutation(len(self._speech.seconds))
        seconds = self._speech.seconds
        batches: list[list[int]] = []
        for first in range(0, len(order), NEIGHBOURS):
            total = self._seconds
            for number in sorted(order[first : first + NEIGHBOURS], key=seconds.__getitem__):
                if total >= self._seconds:
                    batches.append([])
                    total = 0.0
                batches[-1].append(int(number))
                total += seconds[number]
        return [batches[n] for n in generator.permutation(len(batches))]

    def _batch(self, members: Sequence[int], generator: np.random.Generator) -> SpeechBatch:
        clean: list[Samples] = []
        changed: list[Samples] = []
        spoken: list[SpokenText] = []
        prosody: list[tuple[Levels, Levels]] = []
        for number in members:
            spoken.append(self._speech.read(number))
            samples = resampled(spoken[-1].samples, generator)
            samples = peak_normalised(delayed(samples, generator, self._changes)[:WINDOW])
            other = self._speech.read(int(generator.integers(len(self._speech.seconds)))).samples
            clean.append(samples)
            changed.append(disturbed(samples, other, generator, self._changes))
            prosody.append((pitch_levels(samples), energy_levels(samples)))
        length = padded_length(max(map(len, clean)))
        tokens_BN, said_BN = padded(spoken)
        return SpeechBatch(
            self._mel(_stacked(clean, length)),
            self._mel(_stacked(changed, length)),
            torch.tensor([len(samples) // STATE for samples in clean]),
            tokens_BN,
            said_BN,
            *(_levels([pair[n] for pair in prosody], length) for n in (0, 1)),
        )


def padded(spoken: Sequence[SpokenText]) -> tuple[Tensor, Tensor]:
    """Tokens [B, N] padded with the last of each, and which of them are neither prompt nor padding."""
    longest = max(len(text.tokens) for text in spoken)
    rows = [[*text.tokens, *[text.tokens[-1]] * (longest - len(text.tokens))] for text in spoken]
    firsts_B, ends_B = (
        torch.tensor(numbers)[:, None]
        for numbers in ([text.prompt for text in spoken], [len(text.tokens) for text in spoken])
    )
    at_N = torch.arange(longest)
    return torch.tensor(rows), (at_N >= firsts_B) & (at_N < ends_B)


def _stacked(utterances: Sequence[Samples], length: int) -> Tensor:
    rows = [np.pad(samples, (0, length - len(samples))) for samples in utterances]
    return torch.from_numpy(np.stack(rows))


def _levels(levels: Sequence[Levels], length: int) -> Tensor:
    """[B, S], with silence (level 0) behind each utterance."""
    size = length // (STATE * SEMANTIC_STATES)
    return torch.from_numpy(np.stack([np.pad(row, (0, size - len(row))) for row in levels]))
