"""Sizes of the vocoder: those of the public one, and smaller ones that can be trained here and can stream."""

import math
from dataclasses import dataclass
from typing import Any, TypeVar

from schemas.layout import CODES_PER_GROUP
from schemas.vocabulary import LINGUISTIC_CODES, SEMANTIC_CODES

RATE = 22_050
"""Hz"""
HOP = 256
"""Samples per mel frame."""
WINDOW = 1024
"""Samples of a frame's window and Fourier transform."""
MELS = 80
LATENTS = 192
"""Channels of the latents of a piper voice."""
SPEAKER = 192
"""Width of a speaker vector (CAM++)."""
TOKENS = LINGUISTIC_CODES + SEMANTIC_CODES
"""Numbers N of `<audio_N>`: the flat 2:3 interleave of both codebooks, five tokens every 120 ms."""
BLOCK = 3 * CODES_PER_GROUP
"""Tokens that are synthesised at once in streaming: 0.36 s."""


Count = TypeVar("Count", int, Any)


def frames_of(tokens: int) -> int:
    """Number of complete mel frames of the first `tokens` tokens of an utterance: 2.067 per token, 31.008 per
    15.

    Counted from the start, so that rounding per block never accumulates.
    """
    return tokens * 1323 // 640  # 0.024 s per token, 22050 / 256 frames per second


def block_of(frame: Count) -> Count:
    """The block of tokens that a frame, or each of several, belongs to."""
    return ((frame + 1) * 128 - 1) // 3969  # frames_of(15 b) is 3969 b // 128


@dataclass(frozen=True)
class FlowShape:
    """Determines every tensor of the network from tokens to mel. Sizes in elements."""

    width: int
    """Width of the embedding and the encoder."""
    heads: int
    ffn: int
    layers: int
    """Layers of the encoder."""
    channels: tuple[int, ...]
    """Channels of the U-Net's levels; each level after the first halves the frame rate."""
    unet_heads: int
    head: int
    """Width of one of the U-Net's heads."""
    blocks: int
    """Transformer blocks after each ResNet block."""
    middle: int
    """ResNet blocks between the way down and the way up."""
    tokens: int = TOKENS
    past: int | None = None
    """Earlier blocks that attention sees; convolutions are then causal. None sees everything, as in the
    public model, which can't stream."""
    ahead: int = 0
    """Tokens of look-ahead per block, in the encoder's first layer only."""
    features: int = MELS
    """Features per frame that it predicts: mels, or the latents of a voice."""
    prompted: bool = True
    """Whether a speaker vector and a prompt are inputs besides the tokens. One voice needs neither."""
    factors: tuple[int, ...] = ()
    """Sizes of the factors of a semantic code, whose embedding is then the sum of theirs; the first one
    changes fastest from code to code. Empty if each code has its own."""
    residual: bool = False
    """The U-Net predicts the velocity minus (the encoder's prediction - the noisy mel), so that it needn't
    copy its inputs, which small networks are slow to learn."""
    mean: float | None = 0.0
    scale: float = 1.0
    """Features are shifted and divided by `mean` and `scale` before training. None: each feature by its own
    mean and scale, which are kept with the weights."""
    guidance: float = 0.7
    """How far it leans on the tokens when it speaks (classifier-free guidance)."""

    def __post_init__(self) -> None:
        if self.past is not None and len(self.channels) > 1:
            raise ValueError(
                f"{self}: a streaming network has one level, because blocks may have an odd number of frames"
            )
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"{self}: heads and 2 must divide width")
        if self.factors and math.prod(self.factors) != self.tokens - LINGUISTIC_CODES:
            raise ValueError(f"{self}: the product of the factors must be the number of semantic codes")


@dataclass(frozen=True)
class WaveShape:
    """Determines every tensor of the ISTFT generator."""

    width: int
    ffn: int
    layers: int
    mean: float = 0.0
    scale: float = 1.0
    pitch: int = 0
    """Width of the head that predicts the pitch of a harmonic source, which the network then filters. 0 has
    neither, as vocoders before them: the network predicts spectra from nothing."""


@dataclass(frozen=True)
class HiFTShape:
    """Determines every tensor of the public mel-to-wave network."""

    channels: int = 512
    predictor: int = 512
    """Channels of the pitch predictor."""
    harmonics: int = 8


@dataclass(frozen=True)
class VoiceShape:
    """Names a piper voice, whose own generator turns latents into the waveform."""

    voice: str
    """Model reference."""
    sha256: str
    """Of its .onnx file."""


@dataclass(frozen=True)
class VocoderShape:
    flow: FlowShape
    wave: WaveShape | HiFTShape | VoiceShape


MEL_MEAN, MEL_SCALE = -5.3, 2.6
"""Approximate mean and standard deviation of log mels of speech at full scale."""

_SPEECH = {"mean": MEL_MEAN, "scale": MEL_SCALE}
_LATENTS = {"features": LATENTS, "prompted": False, "mean": None, "guidance": 1.5}
_STREAMING = {"past": 8, "ahead": 5, "residual": True}

PRESETS = {
    "tiny": VocoderShape(
        FlowShape(48, 4, 96, 2, (80,), 2, 40, 1, 1, **_STREAMING, **_SPEECH),  # type: ignore[arg-type]
        WaveShape(96, 192, 3, **_SPEECH, pitch=64),
    ),
    "demo": VocoderShape(
        FlowShape(192, 4, 512, 3, (96,), 3, 32, 1, 1, **_STREAMING, **_SPEECH),  # type: ignore[arg-type]
        WaveShape(160, 480, 4, **_SPEECH, pitch=96),
    ),
    "small": VocoderShape(
        FlowShape(192, 4, 512, 3, (192,), 4, 48, 1, 3, **_STREAMING, **_SPEECH),  # type: ignore[arg-type]
        WaveShape(256, 512, 5, **_SPEECH, pitch=128),
    ),
    "voice": VocoderShape(
        FlowShape(192, 4, 512, 4, (160,), 4, 40, 1, 1, **_STREAMING, **_LATENTS),  # type: ignore[arg-type]
        VoiceShape("package:piper-joe", "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"),
    ),
    "cosyvoice": VocoderShape(FlowShape(512, 8, 2048, 6, (256, 256), 8, 64, 4, 12), HiFTShape()),
}
