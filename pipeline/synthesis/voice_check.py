"""Compares speech with references of a recipe's voices, to detect another voice."""

import math
from pathlib import Path
from typing import Any

from schemas.errors import DataError, SetupError
from stages.stage import SAMPLE_RATE
from stages.synthesize.audio import SynthesizedAudio, resample
from stages.synthesize.config import SynthesizeConfig
from stages.synthesize.speech import Backend, speakable
from stages.synthesize.styles import PLAIN

SECONDS_MIN = 1.5
"""Shorter speech can't be compared by its embedding."""


class VoiceCheck:
    """Has each voice speak a reference sentence in each of its styles, and compares speech with it.

    Raises SetupError for a voice that doesn't speak, or whose speed doesn't follow its style.
    """

    def __init__(self, backend: Backend, config: SynthesizeConfig, embedding: Path) -> None:
        import torch

        from stages.diarize.embedding import SpeakerEmbedding

        torch.set_num_threads(1)
        self._embedding = SpeakerEmbedding(embedding)
        self._references: dict[tuple[str, str], Any] = {}
        speech = config.speech
        seconds: dict[str, float] = {}
        for voice in sorted({*speech.human_voices, *speech.assistant_voices}):
            styled = config.style_share and voice in speech.assistant_voices
            for style in (PLAIN, *(sorted(config.styles) if styled else ())):
                wanted = config.style(style)
                (reference,) = backend.speak([speakable(config.reference_of(voice))], voice, wanted)
                if isinstance(reference, DataError):
                    raise SetupError(f"the voice {voice} does not speak: {reference}")
                self._references[voice, style] = self._embedded(reference)
                seconds[style] = len(reference.samples) / reference.rate
                if not _follows_speed(seconds[PLAIN] / seconds[style], wanted.speed):
                    raise SetupError(
                        f"the voice {voice} is not {style} at {wanted.speed:g} times its speed: it takes "
                        f"{seconds[style]:.1f} s for what it normally says in {seconds[PLAIN]:.1f} s. Remove "
                        "the style from synthesize.styles, or name a server that supports `speed`"
                    )

    def likeness(self, utterance: SynthesizedAudio, voice: str, style: str) -> float | None:
        """Cosine similarity of an utterance and the voice's reference; None if it is too short to compare."""
        if len(utterance.samples) < SECONDS_MIN * utterance.rate:
            return None
        return round(float(self._embedded(utterance) @ self._references[voice, style]), 3)

    def _embedded(self, utterance: SynthesizedAudio) -> Any:
        return self._embedding([resample(utterance, SAMPLE_RATE)])[0]


def _follows_speed(measured: float, requested: float) -> bool:
    """Whether a speed changed by at least half of the requested change, on a logarithmic scale."""
    return requested == 1 or math.log(measured) / math.log(requested) >= 0.5
