"""The models that speak on this machine: of the engine, and of each voice that a recipe names."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.models import Model, resolve
from schemas.errors import SetupError
from stages.synthesize.kokoro import MODEL, Kokoro, is_pipers
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
        engine = "" if self.engine is None or is_pipers(voice) else self.engine.sha256
        return f"{engine}{self.voices[voice].sha256}"

    def speaker(self, speed: float) -> Backend:
        """What speaks with all of the voices; not for a server. Raises SetupError: no piper, no such file."""
        paths = {name: model.path for name, model in self.voices.items()}
        if self.engine is None:
            return Piper(paths, speed)
        pipers = {name: path for name, path in paths.items() if is_pipers(name)}
        own = {name: path for name, path in paths.items() if name not in pipers}
        kokoro = Kokoro(self.engine.path, own, speed)
        if not pipers:
            return kokoro
        return ByVoice(dict.fromkeys(own, kokoro) | dict.fromkeys(pipers, Piper(pipers, speed)))


def speech_models(speech: SpeechConfig) -> SpeechModels:
    """Raises SetupError: no such voice, a package that is not installed."""
    names = sorted({*speech.human_voices, *speech.assistant_voices})
    if speech.engine == "piper":
        return SpeechModels({name: resolve(name) for name in names})
    if speech.engine == "kokoro":
        return SpeechModels({name: _kokoro_voice(name) for name in names}, resolve(MODEL))
    return SpeechModels({})


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
