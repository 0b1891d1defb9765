"""Utterances with their tokens and audio, as training data of the vocoder."""

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
"""Peak amplitude of every utterance: tokens don't encode loudness."""


@dataclass(frozen=True)
class VocoderUtterance:
    key: str
    tokens: NDArray[np.int32]
    """[n] numbers N of `<audio_N>`, complete groups."""
    samples: NDArray[np.float32]
    """[m] at 22.05 kHz"""

    def audio(self) -> Tensor:
        """samples_N for the duration of the tokens, with peak amplitude `PEAK`."""
        needed = frames_of(len(self.tokens)) * HOP
        samples_N = torch.from_numpy(self.samples[:needed].astype(np.float32))
        samples_N = torch.nn.functional.pad(samples_N, (0, needed - len(samples_N)))
        return samples_N * (PEAK / samples_N.abs().max().clamp(min=1e-4))


class Utterances(Protocol):
    """Utterances by number, each at least one block long."""

    def __len__(self) -> int: ...

    def read(self, number: int) -> VocoderUtterance: ...


class InMemoryUtterances:
    """Utterances in memory."""

    def __init__(self, utterances: Sequence[VocoderUtterance]) -> None:
        self._utterances = utterances

    def __len__(self) -> int:
        return len(self._utterances)

    def read(self, number: int) -> VocoderUtterance:
        return self._utterances[number]


@dataclass(frozen=True)
class VocoderBatch:
    """Inputs of both networks in a step: excerpts of the same B utterances."""

    tokens_BL: Tensor
    lengths_B: Tensor
    """Number of tokens; the others are padding."""
    mel_BMT: Tensor
    """Mel of these tokens."""
    is_frame_BT: Tensor
    """False for frames that are padding."""
    audio_BN: Tensor
    """Another excerpt, for the generator."""
    audio_mel_BMT: Tensor
    """Its mel, cut from that of the whole utterance, so that it has no edge effects."""

    def to(self, device: torch.device) -> "VocoderBatch":
        return VocoderBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def batch_of(step: int, speech: Utterances, config: VocoderTrainConfig, rows: Sequence[int]) -> VocoderBatch:
    """Some rows of a step's batch, the same in every process and at every call."""
    numbers = sequences_of(step, config.global_batch_size, len(speech), config.seed)
    excerpts = [
        _excerpt(speech.read(numbers[row]), np.random.default_rng([config.seed, 2, step, row]), config)
        for row in rows
    ]
    return VocoderBatch(*(torch.stack(part) for part in zip(*excerpts, strict=True)))


def _excerpt(
    utterance: VocoderUtterance, generator: np.random.Generator, config: VocoderTrainConfig
) -> tuple[Tensor, ...]:
    audio_N = utterance.audio()
    mel_MT = log_mel(audio_N[None])[0]
    length = config.blocks * BLOCK
    # Starts at a block boundary, so that blocks are cut as in synthesis.
    first = BLOCK * int(generator.integers(max(0, len(utterance.tokens) - length) // BLOCK + 1))
    tokens_L = torch.from_numpy(utterance.tokens[first : first + length].astype(np.int64))
    count = len(tokens_L)
    own_MT = mel_MT[:, frames_of(first) :][:, : frames_of(count)]
    frames = frames_of(length)
    pad = torch.nn.functional.pad
    start = int(generator.integers(max(0, mel_MT.shape[1] - config.frames) + 1))
    audio_frames = config.frames
    return (
        pad(tokens_L, (0, length - count)),
        torch.tensor(count),
        pad(own_MT, (0, frames - own_MT.shape[1]), value=float(mel_MT.min())),
        torch.arange(frames) < own_MT.shape[1],
        pad(
            audio_N[start * HOP :][: audio_frames * HOP],
            (0, max(0, (start + audio_frames) * HOP - len(audio_N))),
        ),
        pad(
            mel_MT[:, start : start + audio_frames],
            (0, max(0, start + audio_frames - mel_MT.shape[1])),
            value=float(mel_MT.min()),
        ),
    )


def refuse_empty(speech: Utterances) -> None:
    """Raise SetupError if there are no utterances."""
    if not len(speech):
        raise SetupError(
            "nothing to learn from: no sample of the version has both codes and audio of at least "
            "0.36 s; build the version with keep_audio: true"
        )
