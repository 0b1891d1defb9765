"""Speech that is made once: utterances under the hash of what determines how they sound.

`utterances/<voice>/<utterance>.flac` is what a local engine spoke, before any style but its pace. It is made
again where it is missing, with the same samples, so that recordings don't depend on what was kept.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import soundfile

from pipeline.config.recipe import digest
from pipeline.storage import dataset_layout as layout
from pipeline.storage.store import Store
from schemas.errors import DataError
from stages.synthesize.audio import LEVELS, SynthesizedAudio, apply_style
from stages.synthesize.speech import Backend
from stages.synthesize.styles import UNCHANGED, StyleConfig

VERSION = 1
"""Rises when an engine speaks a text otherwise, since what is kept is then out of date."""


class SpokenOnce:
    """A backend that asks another one only for what nobody has spoken yet; used by several threads at once.

    The other one's samples must have 16 bits, as those of the local engines do.
    """

    def __init__(self, backend: Backend, dataset: Store, speed: float, voices: Mapping[str, str]) -> None:
        """`speed` is that of the backend; `voices`: name -> hash of what determines how it sounds."""
        self._backend = backend
        self._dataset = dataset
        self._folders = {
            name: layout.utterances(digest([VERSION, speed, hash])) for name, hash in voices.items()
        }

    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = UNCHANGED
    ) -> list[SynthesizedAudio | DataError]:
        """Raises what the other backend raises."""
        files = {text: f"{self._folders[voice]}/{digest([text, style.pace])}.flac" for text in texts}
        spoken: dict[str, SynthesizedAudio | DataError] = {
            text: _read(self._dataset.get(file)) for text, file in files.items() if self._dataset.exists(file)
        }
        missing = [text for text in files if text not in spoken]
        if missing:
            paced = UNCHANGED.model_copy(update={"speed": style.pace})  # also beyond the speeds of recipes
            spoken |= zip(missing, self._backend.speak(missing, voice, paced), strict=True)
        for text in missing:
            if isinstance(made := spoken[text], SynthesizedAudio):
                self._dataset.put_new(files[text], _flac(made))
        return [
            each if isinstance(each, DataError) else apply_style(each, style)
            for each in (spoken[text] for text in texts)
        ]


def _flac(utterance: SynthesizedAudio) -> bytes:
    """As a file from which `_read` reads the same samples."""
    buffer = io.BytesIO()
    levels = np.rint(utterance.samples * LEVELS).clip(-LEVELS, LEVELS - 1).astype(np.int16)
    soundfile.write(buffer, levels, utterance.rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _read(file: bytes) -> SynthesizedAudio:
    return SynthesizedAudio(*soundfile.read(io.BytesIO(file), dtype="float32"))
