"""The vocoder: both networks, synthesis of whole utterances, and saving and loading it as a folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schemas.errors import SetupError
from stages.train.vocoder.flow import STEPS, Conditions, Flow, solve
from stages.train.vocoder.hift import HiFT
from stages.train.vocoder.istft import Generator
from stages.train.vocoder.noise import noise
from stages.train.vocoder.shape import (
    FlowShape,
    HiFTShape,
    VocoderShape,
    VoiceShape,
    WaveShape,
)
from stages.train.vocoder.voice_generator import VoiceGenerator
from stages.train.weights import SafetensorsFolder, write_tensors

CONFIG = "config.json"
KIND = "TokenVocoder"
CODES = "codes"
"""Key of config.json that describes which tokenizer's codes a vocoder speaks."""


Locate = Callable[[str], Path]
"""Model reference -> local path: passed in by the pipeline. Raises SetupError."""


class Vocoder(nn.Module):
    """Tokens -> mel -> wave, or tokens -> latents of a voice -> wave."""

    def __init__(self, flow: Flow, wave: Generator | HiFT | VoiceGenerator) -> None:
        super().__init__()
        self.flow = flow
        self.wave = wave

    @classmethod
    def of(cls, shape: VocoderShape) -> "Vocoder":
        wave: Generator | HiFT | VoiceGenerator
        match shape.wave:
            case WaveShape():
                wave = Generator(shape.wave)
            case HiFTShape():
                wave = HiFT(shape.wave)
            case VoiceShape():
                wave = VoiceGenerator(shape.wave).requires_grad_(False)
        return cls(Flow(shape.flow), wave)

    @property
    def shape(self) -> VocoderShape:
        return VocoderShape(self.flow.shape, self.wave.shape)

    @property
    def device(self) -> torch.device:
        return self.flow.encoder_proj.weight.device

    def own_state(self) -> dict[str, Tensor]:
        """The tensors of its folder: all, but for the generator of a voice, which is read from its own
        file."""
        own = self.flow if isinstance(self.wave, VoiceGenerator) else self
        prefix = "flow." if own is self.flow else ""
        return {f"{prefix}{name}": tensor for name, tensor in own.state_dict().items()}

    @torch.no_grad()
    def features(
        self,
        tokens: Sequence[int],
        steps: int = STEPS,
        guidance: float | None = None,
        seed: int = 0,
        speaker: Sequence[float] | None = None,
        prompt: tuple[Sequence[int], Tensor] | None = None,
    ) -> Tensor:
        """Mel or latents x_1MT of audio tokens, numbers N of `<audio_N>`, T = frames_of(tokens).

        `prompt` are tokens and mel_MT of speech that the tokens continue; `speaker` is a CAM++ vector. Raises
        ValueError if there are no tokens, or invalid ones, or if it takes no speaker or prompt.
        """
        shape = self.flow.shape
        if prompt and not shape.prompted:
            raise ValueError("this vocoder has a single voice: it takes neither a speaker nor a prompt")
        if prompt and shape.past is not None:
            raise ValueError("a vocoder that can stream takes no prompt")
        before, prompt_MT = prompt if prompt else ((), torch.zeros(shape.features, 0))
        all_tokens = [*checked(before, shape), *checked(tokens, shape)] if prompt else checked(tokens, shape)
        tokens_1L = torch.tensor(all_tokens, device=self.device)[None]
        known = prompt_MT.shape[1]
        encoded_1MT = self.flow.encode(tokens_1L, prompt=(len(before), known))
        known_1MT = torch.zeros_like(encoded_1MT)
        known_1MT[0, :, :known] = self.flow.normalised(prompt_MT.to(self.device))
        conditions = Conditions(encoded_1MT, self.speaker(speaker), known_1MT)
        noise_1MT = noise(seed, 0, encoded_1MT.shape[2], shape.features).to(self.device)
        solved_1MT = solve(self.flow, noise_1MT, conditions, steps, guidance)
        return self.flow.restored(solved_1MT)[:, :, known:]

    def speaker(self, vector: Sequence[float] | None) -> Tensor:
        """speaker_1M, zeros without a vector."""
        if vector is None:
            return torch.zeros(1, self.flow.shape.features, device=self.device)
        return self.flow.speaker(torch.tensor([list(vector)], device=self.device))

    @torch.no_grad()
    def speak(self, tokens: Sequence[int], **options: Any) -> Tensor:
        """samples_N at 22.05 kHz of audio tokens; `options` are those of `features`."""
        samples_1N: Tensor = self.wave(self.features(tokens, **options))
        return samples_1N[0].clamp(-1, 1)


def checked(tokens: Sequence[int], shape: FlowShape) -> list[int]:
    """Raises ValueError for tokens that can't be synthesised."""
    if not tokens:
        raise ValueError("there are no audio tokens to synthesise")
    if invalid := [token for token in tokens if not 0 <= token < shape.tokens]:
        raise ValueError(f"audio tokens are 0..{shape.tokens - 1}, got {invalid[0]}")
    return list(tokens)


def save(
    vocoder: Vocoder,
    directory: Path,
    dtype: torch.dtype = torch.float32,
    codes: Mapping[str, Any] | None = None,
) -> None:
    """Write a vocoder as config.json and safetensors. `codes` describes the codes that it speaks."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {"architectures": [KIND], **asdict(vocoder.shape), CODES: dict(codes or {})}
    (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    write_tensors(directory, vocoder.own_state(), dtype)


@torch.no_grad()
def load(directory: Path, locate: Locate, device: torch.device | str = "cpu") -> Vocoder:
    """A vocoder in float32 from a folder that `save` wrote; `locate` finds the voice that it names, if any.
    Raises SetupError for any other folder."""
    with torch.device("meta"):
        vocoder = Vocoder.of(_shape(directory))
    vocoder = vocoder.to_empty(device=device)
    weights = SafetensorsFolder(directory)
    parameters = vocoder.own_state()
    for name in sorted(parameters.keys() ^ weights.specs.keys()):
        problem = "lacks" if name in parameters else "has a tensor that its vocoder does not have:"
        raise SetupError(f"{directory} {problem} {name}")
    for name, parameter in parameters.items():
        if weights.specs[name].shape != tuple(parameter.shape):
            actual = list(weights.specs[name].shape)
            raise SetupError(f"{directory}: {name} is {actual}, not {list(parameter.shape)} as {CONFIG} says")
        parameter.copy_(weights.tensor(name))
    if isinstance(vocoder.wave, VoiceGenerator):
        vocoder.wave.read(locate(vocoder.wave.shape.voice))
    return vocoder.eval().requires_grad_(False)


def codes_of(directory: Path) -> dict[str, Any]:
    """The description of the codes that a vocoder speaks, from `save`; empty if there is none."""
    try:
        codes = json.loads((directory / CONFIG).read_text()).get(CODES)
    except (OSError, ValueError, AttributeError):
        return {}
    return codes if isinstance(codes, dict) else {}


def _shape(directory: Path) -> VocoderShape:
    try:
        config = json.loads((directory / CONFIG).read_text())
        if KIND not in config.get("architectures", ()):
            raise SetupError(
                f"{directory / CONFIG} has the architectures {config.get('architectures')}, not {KIND}"
            )
        lists = {name: tuple(value) for name, value in config["flow"].items() if isinstance(value, list)}
        wave = (VoiceShape if "voice" in config["wave"] else WaveShape)(**config["wave"])
        return VocoderShape(FlowShape(**config["flow"] | lists), wave)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{directory} has no usable {CONFIG} of a vocoder: {error}") from None
