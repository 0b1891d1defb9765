"""Compares speech with references of a recipe's voices, to detect another voice."""

import math
from pathlib import Path
from threading import Lock
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
    """Has each voice speak a reference sentence, and compares speech with it, also in several threads.

    The references of styles are spoken at the start where answers change their style, and otherwise when a
    row first requests the style. Raises SetupError for a voice that doesn't speak, or whose speed doesn't
    follow its style.
    """

    def __init__(self, backend: Backend, config: SynthesizeConfig, embedding: Path) -> None:
        import torch

        from stages.diarize.embedding import SpeakerEmbedding

        torch.set_num_threads(1)
        self._backend = backend
        self._config = config
        self._embedding = SpeakerEmbedding(embedding)
        self._references: dict[tuple[str, str], Any] = {}
        self._seconds: dict[tuple[str, str], float] = {}
        self._lock = Lock()
        speech = config.speech
        for voice in sorted({*speech.human_voices, *speech.assistant_voices}):
            styled = config.style_share and voice in speech.assistant_voices
            for style in (PLAIN, *(sorted(config.styles) if styled else ())):
                self._reference(voice, style)

    def likeness(self, utterance: SynthesizedAudio, voice: str, style: str) -> float | None:
        """Cosine similarity of an utterance and the voice's reference; None if it is too short to compare."""
        if len(utterance.samples) < SECONDS_MIN * utterance.rate:
            return None
        return round(float(self._embedded(utterance) @ self._reference(voice, style)), 3)

    def _reference(self, voice: str, style: str) -> Any:
        """The embedding of the reference sentence; a style's is only made after that of the plain voice."""
        with self._lock:
            if (voice, style) not in self._references:
                self._speak_reference(voice, style)
            return self._references[voice, style]

    def _speak_reference(self, voice: str, style: str) -> None:
        wanted = self._config.style(style)
        (reference,) = self._backend.speak([speakable(self._config.reference_of(voice))], voice, wanted)
        if isinstance(reference, DataError):
            raise SetupError(f"the voice {voice} does not speak: {reference}")
        self._seconds[voice, style] = styled = len(reference.samples) / reference.rate
        plain = self._seconds[voice, PLAIN]
        if not _follows_speed(plain / styled, wanted.speed):
            raise SetupError(
                f"the voice {voice} is not {style} at {wanted.speed:g} times its speed: it takes "
                f"{styled:.1f} s for what it normally says in {plain:.1f} s. Remove "
                "the style from synthesize.styles, or name a server that supports `speed`"
            )
        self._references[voice, style] = self._embedded(reference)

    def _embedded(self, utterance: SynthesizedAudio) -> Any:
        return self._embedding([resample(utterance, SAMPLE_RATE)])[0]


def _follows_speed(measured: float, requested: float) -> bool:
    """Whether a speed changed by at least half of the requested change, on a logarithmic scale."""
    return requested == 1 or math.log(measured) / math.log(requested) >= 0.5
