"""The models that speak on this machine: of the engine, and of each voice that a recipe names."""

import difflib
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.models import Model, resolve
from schemas.errors import SetupError
from stages.synthesize.flite import Flite, is_flites
from stages.synthesize.kokoro import MODEL, Kokoro, is_kokoros
from stages.synthesize.speech import Backend, ByVoice, Piper, SpeechConfig

VOICES = "package:kokoro-voices"


@dataclass(frozen=True)
class SpeechModels:
    """None for a server, which has its own."""

    voices: dict[str, Model]
    """By the names that the recipe uses."""
    engine: Model | None = None
    """What all voices share, if anything."""

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of everything, by name."""
        engine = {self.engine.reference: self.engine.sha256} if self.engine else {}
        return {name: model.sha256 for name, model in self.voices.items()} | engine

    def hash_of(self, voice: str) -> str:
        """Of all that determines how a voice sounds."""
        engine = self.engine.sha256 if self.engine and is_kokoros(voice) else ""
        return f"{engine}{self.voices[voice].sha256}"

    def speaker(self, speed: float) -> Backend:
        """What speaks with all of the voices; not for a server. Raises SetupError: no piper, no such file."""
        pipers = {name: model.path for name, model in self.voices.items()}
        flites = {name: pipers.pop(name) for name in self.voices if is_flites(name)}
        backends: dict[str, Backend] = dict.fromkeys(flites, Flite(flites, speed)) if flites else {}
        kokoros = {name: pipers.pop(name) for name in self.voices if self.engine and is_kokoros(name)}
        if self.engine and kokoros:
            backends |= dict.fromkeys(kokoros, Kokoro(self.engine.path, kokoros, speed))
        if pipers:
            backends |= dict.fromkeys(pipers, Piper(pipers, speed))
        return ByVoice(backends)


def speech_models(speech: SpeechConfig) -> SpeechModels:
    """Raises SetupError: no such voice, a package that is not installed."""
    names = sorted({*speech.human_voices, *speech.assistant_voices})
    if speech.engine == "piper":
        return SpeechModels({name: _voice(name) for name in names})
    if speech.engine == "kokoro":
        return SpeechModels({name: _voice(name, kokoros=True) for name in names}, resolve(MODEL))
    return SpeechModels({})


def _voice(name: str, kokoros: bool = False) -> Model:
    if is_flites(name):
        program = Flite([name])
        sha256 = hashlib.sha256(f"{name} {program.version}".encode()).hexdigest()
        return Model(name, program.program, program.program.stat().st_size, sha256, "CMU flite, permissive")
    return _kokoro_voice(name) if kokoros else resolve(name)


def _kokoro_voice(name: str) -> Model:
    """A voice that comes with the project by its name, or another, also of piper, by its reference."""
    if name.startswith(("file:", "package:")):
        return resolve(name)
    bundled = resolve(VOICES)
    path = bundled.path / f"{name}.bin"
    if not path.exists():
        known = sorted(file.stem for file in Path(bundled.path).glob("*.bin"))
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? It has" if near else "there are"
        raise SetupError(
            f"kokoro has no voice {name!r} here: {hint} {', '.join(known)}; docs/synthesis.md says how to "
            "fetch others, which are named file:/PATH"
        )
    return replace(resolve(f"file:{path}"), reference=name, licence=bundled.licence)
