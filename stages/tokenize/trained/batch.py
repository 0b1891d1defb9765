"""Batches of training: clean and disturbed spectra of the same utterances, their texts and prosody."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.tokenizer import peak_normalised
from stages.tokenize.trained.changes import ChangeConfig, delayed, disturbed, resampled
from stages.tokenize.trained.mel import WhisperMel
from stages.tokenize.trained.prosody import Levels, energy_levels, pitch_levels
from stages.tokenize.trained.speech import SpokenText, TrainingSpeech, joined_texts
from stages.tokenize.windows import SEMANTIC_STATES, STATE, padded_length

NEIGHBOURS = 400
"""Utterances that are sorted by length before they are divided into batches."""


JOINED_SHARE = 0.35
"""Share of the batches whose utterances are joined to longer ones, of which there are few."""
JOINED_SECONDS = (9.0, 14.0, 18.0, 22.0)
PAUSE = SAMPLE_RATE // 2
"""Samples of silence between joined utterances, at most."""
LONGEST = 28 * SAMPLE_RATE
"""Samples of an utterance: what is longer is cut, with silence behind it as in recognition."""


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
        prosody: list[tuple[Levels, Levels]] = []
        spoken = self._spoken(members, generator)
        for text in spoken:
            samples = resampled(text.samples, generator)
            samples = peak_normalised(delayed(samples, generator, self._changes)[:LONGEST])
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

    def _spoken(self, members: Sequence[int], generator: np.random.Generator) -> list[SpokenText]:
        """The utterances of a batch, in some batches joined to longer ones."""
        texts = [self._speech.read(number) for number in members]
        if generator.random() >= JOINED_SHARE:
            return texts
        longest = int(SAMPLE_RATE * generator.choice(JOINED_SECONDS))
        groups: dict[tuple[int, ...], list[list[SpokenText]]] = {}
        for number in generator.permutation(len(texts)):
            text = texts[number]
            own = groups.setdefault(text.tokens[: text.prompt], [[]])
            if sum(len(part.samples) for part in [*own[-1], text]) > longest and own[-1]:
                own.append([])
            own[-1].append(text)
        return [
            joined_texts(group, generator.integers(PAUSE, size=len(group) - 1).tolist())
            for own in groups.values()
            for group in own
        ]


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
