"""Sizes of the vocoder: the public one's, and two smaller ones that can be trained here and that stream."""

from dataclasses import dataclass
from typing import Any, TypeVar

from schemas.layout import CODES_PER_GROUP
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES

RATE = 22_050
"""Hz"""
HOP = 256
"""Samples of a mel frame."""
WINDOW = 1024
"""Samples of a frame's window, and of its Fourier transform."""
MELS = 80
SPEAKER = 192
"""Width of a speaker vector (CAM++)."""
TOKENS = LINGUISTIC_CODES + SEMANTIC_CODES
"""Numbers N of `<audio_N>`: the flat 2:3 interleave of both codebooks, five tokens every 120 ms."""
BLOCK = 3 * CODES_PER_GROUP
"""Tokens that are synthesised at once when streaming: 0.36 s."""


Count = TypeVar("Count", int, Any)


def frames_of(tokens: int) -> int:
    """Whole mel frames of so many tokens from the start of an utterance: 2.067 each, 15 are 31.008.

    Counted from the start, so that what blocks round off never adds up.
    """
    return tokens * 1323 // 640  # 0.024 s a token, 22050 / 256 frames a second


def block_of(frame: Count) -> Count:
    """The block of tokens that a frame, or each of several, belongs to."""
    return ((frame + 1) * 128 - 1) // 3969  # frames_of(15 b) is 3969 b // 128


@dataclass(frozen=True)
class FlowShape:
    """What decides every tensor from tokens to mel. Sizes in elements."""

    width: int
    """Of the embedding and of the encoder."""
    heads: int
    ffn: int
    layers: int
    """Of the encoder."""
    channels: tuple[int, ...]
    """Of the U-Net's levels; each level after the first halves the frame rate."""
    unet_heads: int
    head: int
    """Width of one of the U-Net's heads."""
    blocks: int
    """Transformer blocks behind each ResNet block."""
    middle: int
    """ResNet blocks between the way down and the way up."""
    tokens: int = TOKENS
    past: int | None = None
    """Blocks that attention sees behind its own; convolutions then see nothing ahead. None sees everything,
    as the public model does, which can't stream."""
    ahead: int = 0
    """Tokens that a block sees ahead, in the encoder's first layer alone."""
    residual: bool = False
    """The U-Net says how the velocity differs from the way from the noisy mel to what the encoder made of the
    tokens: little is then left for it to pass on, which small networks are slow to learn."""
    mean: float = 0.0
    scale: float = 1.0
    """What mels are shifted and divided by before they are learnt."""

    def __post_init__(self) -> None:
        if self.past is not None and len(self.channels) > 1:
            raise ValueError(f"{self}: what streams has one level, for blocks are no even number of frames")
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"{self}: heads and 2 must divide width")


@dataclass(frozen=True)
class WaveShape:
    """What decides every tensor of the ISTFT generator."""

    width: int
    ffn: int
    layers: int
    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class HiFTShape:
    """What decides every tensor of the public mel-to-wave network."""

    channels: int = 512
    predictor: int = 512
    """Channels of the pitch predictor."""
    harmonics: int = 8


@dataclass(frozen=True)
class VocoderShape:
    flow: FlowShape
    wave: WaveShape | HiFTShape


MEL_MEAN, MEL_SCALE = -5.3, 2.6
"""Roughly mean and deviation of log mels of speech at full scale."""

_SPEECH = {"mean": MEL_MEAN, "scale": MEL_SCALE}
_OURS = {"past": 8, "ahead": 5, "residual": True}

PRESETS = {
    "tiny": VocoderShape(
        FlowShape(48, 4, 96, 2, (80,), 2, 40, 1, 1, **_OURS, **_SPEECH),  # type: ignore[arg-type]
        WaveShape(96, 192, 3, **_SPEECH),
    ),
    "demo": VocoderShape(
        FlowShape(192, 4, 512, 3, (96,), 3, 32, 1, 1, **_OURS, **_SPEECH),  # type: ignore[arg-type]
        WaveShape(160, 480, 4, **_SPEECH),
    ),
    "small": VocoderShape(
        FlowShape(192, 4, 512, 3, (192,), 4, 48, 1, 3, **_OURS, **_SPEECH),  # type: ignore[arg-type]
        WaveShape(256, 512, 5, **_SPEECH),
    ),
    "cosyvoice": VocoderShape(FlowShape(512, 8, 2048, 6, (256, 256), 8, 64, 4, 12), HiFTShape()),
}
