"""Both networks together, whole utterances, and a vocoder as a folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schemas.errors import SetupError
from stages.train.vocoder.flow import GUIDANCE, STEPS, Conditions, Flow, solve
from stages.train.vocoder.hift import HiFT
from stages.train.vocoder.istft import Generator
from stages.train.vocoder.shape import MELS, FlowShape, HiFTShape, VocoderShape, WaveShape, frames_of
from stages.train.weights import SafetensorsFolder, write_tensors

CONFIG = "config.json"
KIND = "TokenVocoder"
CODES = "codes"
"""Key of config.json under which stands which tokenizer's codes a vocoder speaks."""
CHUNK = 1024
"""Frames of noise that are drawn at once."""


class Vocoder(nn.Module):
    """Tokens -> mel -> wave."""

    def __init__(self, flow: Flow, wave: Generator | HiFT) -> None:
        super().__init__()
        self.flow = flow
        self.wave = wave

    @classmethod
    def of(cls, shape: VocoderShape) -> "Vocoder":
        wave = HiFT(shape.wave) if isinstance(shape.wave, HiFTShape) else Generator(shape.wave)
        return cls(Flow(shape.flow), wave)

    @property
    def shape(self) -> VocoderShape:
        return VocoderShape(self.flow.shape, self.wave.shape)

    @property
    def device(self) -> torch.device:
        return self.flow.encoder_proj.weight.device

    @torch.no_grad()
    def mel(
        self,
        tokens: Sequence[int],
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        seed: int = 0,
        speaker: Sequence[float] | None = None,
        prompt: tuple[Sequence[int], Tensor] | None = None,
    ) -> Tensor:
        """mel_1MT of audio tokens, numbers N of `<audio_N>`, T = frames_of(tokens).

        `prompt` are the tokens and the mel_MT of somebody who speaks on; `speaker` is a CAM++ vector. Raises
        ValueError for no tokens, or ones that are none.
        """
        before, prompt_MT = prompt if prompt else ((), torch.zeros(MELS, 0))
        everything = checked([*before, *tokens], self.flow.shape)
        tokens_1L = torch.tensor(everything, device=self.device)[None]
        first, end = frames_of(len(before)), frames_of(len(everything))
        given_1MT = torch.zeros(1, MELS, end, device=self.device)
        known = min(first, prompt_MT.shape[1])
        given_1MT[0, :, :known] = self.flow.normalised(prompt_MT[:, :known].to(self.device))
        conditions = Conditions(self.flow.encode(tokens_1L), self.speaker(speaker), given_1MT)
        noise_1MT = noise(seed, 0, end).to(self.device)
        solved_1MT = solve(self.flow, noise_1MT, conditions, steps, guidance)
        return self.flow.restored(solved_1MT)[:, :, first:]

    def speaker(self, vector: Sequence[float] | None) -> Tensor:
        """speaker_1M, zeros for nobody."""
        if vector is None:
            return torch.zeros(1, MELS, device=self.device)
        return self.flow.speaker(torch.tensor([list(vector)], device=self.device))

    @torch.no_grad()
    def speak(self, tokens: Sequence[int], **how: Any) -> Tensor:
        """samples_N at 22.05 kHz of audio tokens; `how` is what `mel` takes."""
        samples_1N: Tensor = self.wave(self.mel(tokens, **how))
        return samples_1N[0].clamp(-1, 1)


def checked(tokens: Sequence[int], shape: FlowShape) -> list[int]:
    """Raises ValueError for what can't be spoken."""
    if not tokens:
        raise ValueError("there are no audio tokens to speak")
    if wrong := [token for token in tokens if not 0 <= token < shape.tokens]:
        raise ValueError(f"audio tokens are 0..{shape.tokens - 1}, there is a {wrong[0]}")
    return list(tokens)


def noise(seed: int, first: int, end: int) -> Tensor:
    """noise_1MT of frames `first` to `end`, the same for a frame however it is asked for."""
    chunks = [_drawn(seed, n) for n in range(first // CHUNK, -(-end // CHUNK))]
    if not chunks:
        return torch.zeros(1, MELS, 0)
    start = first // CHUNK * CHUNK
    return torch.cat(chunks, 1)[None, :, first - start : end - start]


@lru_cache(maxsize=4)
def _drawn(seed: int, chunk: int) -> Tensor:
    generator = torch.Generator().manual_seed(1_000_003 * seed + chunk)
    return torch.randn(MELS, CHUNK, generator=generator)


def save(
    vocoder: Vocoder,
    directory: Path,
    dtype: torch.dtype = torch.float32,
    codes: Mapping[str, Any] | None = None,
) -> None:
    """Write a vocoder of our own shapes: config.json and safetensors. `codes` says whose codes it speaks."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {"architectures": [KIND], **asdict(vocoder.shape), CODES: dict(codes or {})}
    (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    write_tensors(directory, vocoder.state_dict(), dtype)


@torch.no_grad()
def load(directory: Path, device: torch.device | str = "cpu") -> Vocoder:
    """A vocoder in float32 from a folder that `save` wrote. Raises SetupError where it is none."""
    with torch.device("meta"):
        vocoder = Vocoder.of(_shape(directory))
    vocoder = vocoder.to_empty(device=device)
    weights = SafetensorsFolder(directory)
    wanted = vocoder.state_dict()
    for name in sorted(wanted.keys() ^ weights.specs.keys()):
        said = "lacks" if name in wanted else "has a tensor that its vocoder does not:"
        raise SetupError(f"{directory} {said} {name}")
    for name, parameter in wanted.items():
        if weights.specs[name].shape != tuple(parameter.shape):
            found = list(weights.specs[name].shape)
            raise SetupError(f"{directory}: {name} is {found}, not {list(parameter.shape)} as {CONFIG} says")
        parameter.copy_(weights.tensor(name))
    return vocoder.eval().requires_grad_(False)


def codes_of(directory: Path) -> dict[str, Any]:
    """Which tokenizer's codes a vocoder speaks, as `save` was told; empty where nobody said."""
    try:
        found = json.loads((directory / CONFIG).read_text()).get(CODES)
    except (OSError, ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _shape(directory: Path) -> VocoderShape:
    try:
        config = json.loads((directory / CONFIG).read_text())
        if KIND not in config.get("architectures", ()):
            raise SetupError(f"{directory / CONFIG} is of {config.get('architectures')}, not of a {KIND}")
        flow = FlowShape(**config["flow"] | {"channels": tuple(config["flow"]["channels"])})
        return VocoderShape(flow, WaveShape(**config["wave"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{directory} holds no usable {CONFIG} of a vocoder: {error}") from None
