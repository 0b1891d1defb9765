"""Utterances with their tokens and what is synthesised from them, as training data of the vocoder."""

from collections.abc import Callable, Sequence
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

    def features(self) -> Tensor:
        """mel_MT for the duration of the tokens."""
        return log_mel(self.audio()[None])[0]


PitchOf = Callable[[VocoderUtterance], NDArray[np.float32]]
"""Pitch of an utterance in Hz [T], 0 where unvoiced."""


@dataclass(frozen=True)
class LatentUtterance:
    """What a voice spoke, before its generator."""

    key: str
    tokens: NDArray[np.int32]
    """[n] numbers N of `<audio_N>`, complete groups."""
    latents: NDArray[np.float16]
    """[192, frames], at least as many as the tokens last"""

    def features(self) -> Tensor:
        """latents_MT for the duration of the tokens."""
        return torch.from_numpy(self.latents[:, : frames_of(len(self.tokens))].astype(np.float32))


class Utterances(Protocol):
    """Utterances by number, each at least one block long; all of them of one kind."""

    def __len__(self) -> int: ...

    def read(self, number: int) -> VocoderUtterance | LatentUtterance: ...


class InMemoryUtterances:
    """Utterances in memory."""

    def __init__(self, utterances: Sequence[VocoderUtterance | LatentUtterance]) -> None:
        self._utterances = utterances

    def __len__(self) -> int:
        return len(self._utterances)

    def read(self, number: int) -> VocoderUtterance | LatentUtterance:
        return self._utterances[number]


@dataclass(frozen=True)
class FlowBatch:
    """Excerpts of B utterances, from tokens to features."""

    tokens_BL: Tensor
    lengths_B: Tensor
    """Number of tokens; the others are padding."""
    features_BMT: Tensor
    """Mel or latents of these tokens."""
    is_frame_BT: Tensor
    """False for frames that are padding."""

    def to(self, device: torch.device) -> "FlowBatch":
        return FlowBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class WaveBatch:
    """Other excerpts of the same utterances, from mel to waveform."""

    audio_BN: Tensor
    mel_BMT: Tensor
    """Cut from that of the whole utterance, so that it has no edge effects."""
    hz_BT: Tensor
    """Pitch, 0 where unvoiced. Zeros if none is measured."""

    def to(self, device: torch.device) -> "WaveBatch":
        return WaveBatch(self.audio_BN.to(device), self.mel_BMT.to(device), self.hz_BT.to(device))


def batch_of(
    step: int,
    speech: Utterances,
    config: VocoderTrainConfig,
    rows: Sequence[int],
    pitch: PitchOf | None = None,
) -> tuple[FlowBatch, WaveBatch | None]:
    """Some rows of a step's batch, the same in every process and at every call. Latents need no second part:
    their generator isn't trained."""
    numbers = sequences_of(step, config.global_batch_size, len(speech), config.seed)
    flow, wave = [], []
    for row in rows:
        utterance = speech.read(numbers[row])
        features_MT = utterance.features()
        generator = np.random.default_rng([config.seed, 2, step, row])
        flow.append(_flow_excerpt(utterance.tokens, features_MT, generator, config))
        if isinstance(utterance, VocoderUtterance):
            hz = pitch(utterance) if pitch else np.zeros(features_MT.shape[1], np.float32)
            parts = (utterance.audio(), features_MT, torch.from_numpy(hz))
            wave.append(_wave_excerpt(*parts, generator, config))
    return (
        FlowBatch(*(torch.stack(part) for part in zip(*flow, strict=True))),
        WaveBatch(*(torch.stack(part) for part in zip(*wave, strict=True))) if wave else None,
    )


def _flow_excerpt(
    tokens: NDArray[np.int32], features_MT: Tensor, generator: np.random.Generator, config: VocoderTrainConfig
) -> tuple[Tensor, ...]:
    length = config.blocks * BLOCK
    # Starts at a block boundary, so that blocks are cut as in synthesis.
    first = BLOCK * int(generator.integers(max(0, len(tokens) - length) // BLOCK + 1))
    tokens_L = torch.from_numpy(tokens[first : first + length].astype(np.int64))
    count = len(tokens_L)
    own_MT = features_MT[:, frames_of(first) :][:, : frames_of(count)]
    frames = frames_of(length)
    pad = torch.nn.functional.pad
    return (
        pad(tokens_L, (0, length - count)),
        torch.tensor(count),
        pad(own_MT, (0, frames - own_MT.shape[1]), value=float(features_MT.min())),
        torch.arange(frames) < own_MT.shape[1],
    )


def _wave_excerpt(
    audio_N: Tensor,
    mel_MT: Tensor,
    hz_T: Tensor,
    generator: np.random.Generator,
    config: VocoderTrainConfig,
) -> tuple[Tensor, ...]:
    pad = torch.nn.functional.pad
    start = int(generator.integers(max(0, mel_MT.shape[1] - config.frames) + 1))
    audio_frames = config.frames
    return (
        pad(
            audio_N[start * HOP :][: audio_frames * HOP],
            (0, max(0, (start + audio_frames) * HOP - len(audio_N))),
        ),
        pad(
            mel_MT[:, start : start + audio_frames],
            (0, max(0, start + audio_frames - mel_MT.shape[1])),
            value=float(mel_MT.min()),
        ),
        pad(hz_T[start : start + audio_frames], (0, max(0, start + audio_frames - len(hz_T)))),
    )


def refuse_empty(speech: Utterances) -> None:
    """Raise SetupError if there are no utterances."""
    if not len(speech):
        raise SetupError(
            "nothing to learn from: no sample of the version has both codes and audio of at least "
            "0.36 s; build the version with keep_audio: true"
        )
