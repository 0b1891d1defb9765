"""Who asks the questions that judge a talk model: packaged and other voices, and espeak-ng, which shares no
voice with them and is kept for judging.

A voice is named `af_heart` or `file:/x/af_sky.bin` (kokoro), `package:piper-joe` (piper), or
`espeak-ng:en-us` (a language of espeak-ng, which must be installed as a program).
"""

import io
import subprocess
from collections.abc import Sequence
from pathlib import Path

import soundfile

from pipeline.storage.store import Store
from pipeline.synthesis.speech_models import speech_models
from pipeline.synthesis.spoken_once import SpokenOnce
from schemas.errors import DataError
from stages.synthesize.audio import SynthesizedAudio
from stages.synthesize.kokoro import is_pipers
from stages.synthesize.speech import Backend, SpeechConfig
from stages.synthesize.styles import UNCHANGED, StyleConfig

ESPEAK = "espeak-ng"
WORDS_A_MINUTE = 160


class EspeakNg:
    """The program espeak-ng; a voice is `espeak-ng:LANGUAGE`."""

    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = UNCHANGED
    ) -> list[SynthesizedAudio | DataError]:
        language = voice.partition(":")[2] or "en-us"
        speed = str(round(WORDS_A_MINUTE * style.pace))
        command = [ESPEAK, "-v", language, "-s", speed, "--stdout"]
        spoken: list[SynthesizedAudio | DataError] = []
        for text in texts:
            ran = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
            spoken.append(SynthesizedAudio(*soundfile.read(io.BytesIO(ran.stdout), dtype="float32")))
        return spoken


def speaker_of(voice: str, folder: Path) -> Backend:
    """What speaks with a voice; what it has spoken is kept in the folder."""
    store = Store(str(folder))
    if voice.startswith(ESPEAK):
        version = subprocess.run([ESPEAK, "--version"], capture_output=True, text=True, check=True).stdout
        return SpokenOnce(EspeakNg(), store, 1.0, {voice: f"{voice} {version}"})
    # A configuration of kokoro with voices of piper alone would load its model for nothing.
    engine = "piper" if is_pipers(voice) else "kokoro"
    config = SpeechConfig(engine=engine, human_voices=(voice,), assistant_voices=(voice,))
    models = speech_models(config)
    return SpokenOnce(models.speaker(1.0), store, 1.0, {voice: models.hash_of(voice)})


def spoken(speaker: Backend, text: str, voice: str, style: StyleConfig = UNCHANGED) -> SynthesizedAudio:
    (utterance,) = speaker.speak([text], voice, style)
    if isinstance(utterance, DataError):
        raise utterance
    return utterance
