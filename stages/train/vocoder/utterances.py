"""Utterances with their tokens and their sound, as the vocoder is taught with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import SetupError
from stages.train.packing import sequences_of
from stages.train.vocoder.config import VocoderTrainConfig
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import BLOCK, HOP, frames_of

PEAK = 0.95
"""Of every utterance: tokens don't say how loud it was."""


@dataclass(frozen=True)
class VocoderUtterance:
    key: str
    tokens: NDArray[np.int32]
    """[n] numbers N of `<audio_N>`, whole groups."""
    samples: NDArray[np.float32]
    """[m] at 22.05 kHz"""

    def sound(self) -> Tensor:
        """samples_N of its tokens' time, at one loudness."""
        needed = frames_of(len(self.tokens)) * HOP
        samples_N = torch.from_numpy(self.samples[:needed].astype(np.float32))
        samples_N = torch.nn.functional.pad(samples_N, (0, needed - len(samples_N)))
        return samples_N * (PEAK / samples_N.abs().max().clamp(min=1e-4))


class Utterances(Protocol):
    """Utterances by number, of at least a block each."""

    def __len__(self) -> int: ...

    def read(self, number: int) -> VocoderUtterance: ...


class InMemoryUtterances:
    """Utterances that are in memory."""

    def __init__(self, utterances: Sequence[VocoderUtterance]) -> None:
        self._utterances = utterances

    def __len__(self) -> int:
        return len(self._utterances)

    def read(self, number: int) -> VocoderUtterance:
        return self._utterances[number]


@dataclass(frozen=True)
class VocoderBatch:
    """What both networks see in a step: stretches of the same utterances, B of them."""

    tokens_BL: Tensor
    lengths_B: Tensor
    """Tokens that are there; the others are padding."""
    mel_BMT: Tensor
    """Of these tokens."""
    there_BT: Tensor
    sound_BN: Tensor
    """Another stretch, for the generator."""
    sound_mel_BMT: Tensor
    """Cut from the mel of the whole, so that its edges are none."""

    def to(self, device: torch.device) -> "VocoderBatch":
        return VocoderBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def batch_of(step: int, speech: Utterances, config: VocoderTrainConfig, rows: Sequence[int]) -> VocoderBatch:
    """These rows of a step's batch, the same whenever and wherever they are asked for."""
    numbers = sequences_of(step, config.global_batch_size, len(speech), config.seed)
    stretches = [
        _stretch(speech.read(numbers[row]), np.random.default_rng([config.seed, 2, step, row]), config)
        for row in rows
    ]
    return VocoderBatch(*(torch.stack(part) for part in zip(*stretches, strict=True)))


def _stretch(
    utterance: VocoderUtterance, generator: np.random.Generator, config: VocoderTrainConfig
) -> tuple[Tensor, ...]:
    sound_N = utterance.sound()
    mel_MT = log_mel(sound_N[None])[0]
    length = config.blocks * BLOCK
    # From the start of a block on, so that blocks are cut as when speaking.
    first = BLOCK * int(generator.integers(max(0, len(utterance.tokens) - length) // BLOCK + 1))
    tokens_L = torch.from_numpy(utterance.tokens[first : first + length].astype(np.int64))
    there = len(tokens_L)
    own_MT = mel_MT[:, frames_of(first) :][:, : frames_of(there)]
    frames = frames_of(length)
    pad = torch.nn.functional.pad
    start = int(generator.integers(max(0, mel_MT.shape[1] - config.frames) + 1))
    wanted = config.frames
    return (
        pad(tokens_L, (0, length - there)),
        torch.tensor(there),
        pad(own_MT, (0, frames - own_MT.shape[1]), value=float(mel_MT.min())),
        torch.arange(frames) < own_MT.shape[1],
        pad(sound_N[start * HOP :][: wanted * HOP], (0, max(0, (start + wanted) * HOP - len(sound_N)))),
        pad(
            mel_MT[:, start : start + wanted],
            (0, max(0, start + wanted - mel_MT.shape[1])),
            value=float(mel_MT.min()),
        ),
    )


def refuse_empty(speech: Utterances) -> None:
    """Raises SetupError where there is nothing to learn from."""
    if not len(speech):
        raise SetupError(
            "nothing to learn from: no sample of the version has both codes and audio of at least "
            "0.36 s; build it with keep_audio: true"
        )
