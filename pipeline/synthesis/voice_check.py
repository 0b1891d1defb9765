"""Knows the voices of a recipe, so that another one is found out."""

import math
from pathlib import Path
from typing import Any

from schemas.errors import DataError, SetupError
from stages.stage import SAMPLE_RATE
from stages.synthesize.config import SynthesizeConfig
from stages.synthesize.sound import SynthesizedAudio, at_rate
from stages.synthesize.speech import Backend, speakable
from stages.synthesize.styles import PLAIN

SHORTEST_KNOWN = 1.5
"""Seconds under which a voice can't be known by its embedding."""


class Voices:
    """Knows voices by a sentence that each of them speaks, in every style that it is to speak in.

    Raises SetupError for a voice that doesn't, or that is as fast as ever when it is to be slow or fast.
    """

    def __init__(self, backend: Backend, config: SynthesizeConfig, embedding: Path) -> None:
        import torch

        from stages.diarize.embedding import SpeakerEmbedding

        torch.set_num_threads(1)
        self._embedding = SpeakerEmbedding(embedding)
        self._known: dict[tuple[str, str], Any] = {}
        speech = config.speech
        seconds: dict[str, float] = {}
        for voice in sorted({*speech.human_voices, *speech.assistant_voices}):
            styled = config.style_share and voice in speech.assistant_voices
            for style in (PLAIN, *(sorted(config.styles) if styled else ())):
                wanted = config.style(style)
                (reference,) = backend.speak([speakable(config.reference)], voice, wanted)
                if isinstance(reference, DataError):
                    raise SetupError(f"the voice {voice} does not speak: {reference}")
                self._known[voice, style] = self._embedded(reference)
                seconds[style] = len(reference.samples) / reference.rate
                if not _as_fast(seconds[PLAIN] / seconds[style], wanted.speed):
                    raise SetupError(
                        f"the voice {voice} is not {style} at {wanted.speed:g} times its speed: it takes "
                        f"{seconds[style]:.1f} s for what it says in {seconds[PLAIN]:.1f} s. Take the style "
                        "out of synthesize.styles, or name a server that knows `speed`"
                    )

    def likeness(self, utterance: SynthesizedAudio, voice: str, style: str) -> float | None:
        """Cosine between an utterance and the voice's reference; None where it is too short to tell."""
        if len(utterance.samples) < SHORTEST_KNOWN * utterance.rate:
            return None
        return round(float(self._embedded(utterance) @ self._known[voice, style]), 3)

    def _embedded(self, utterance: SynthesizedAudio) -> Any:
        return self._embedding([at_rate(utterance, SAMPLE_RATE)])[0]


def _as_fast(measured: float, asked: float) -> bool:
    """Whether a speed has at least half of what was asked of it, where half and twice are as far from 1."""
    return asked == 1 or math.log(measured) / math.log(asked) >= 0.5
