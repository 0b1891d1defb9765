"""Text to speech: its settings, the local program piper, and OpenAI-compatible servers."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, model_validator

from schemas.errors import DataError, SetupError
from stages.endpoint import Endpoint, EndpointConfig
from stages.replies import Cost
from stages.stage import Config
from stages.synthesize.audio import SynthesizedAudio, apply_style, read_audio
from stages.synthesize.kokoro import kokoro_defaults, language_of, voices_for
from stages.synthesize.styles import UNCHANGED, StyleConfig

PIPER_VOICES = ("package:piper-joe",)


class SpeechServerConfig(EndpointConfig):
    """A server that speaks, and which styles it can."""

    follows_speed: bool = Field(
        True, description="whether it follows `speed`; false: styles that need another speed are refused"
    )
    instructions_field: str | None = Field(
        "instructions",
        description="field of a request that has the `instructions` of a style, such as `instruct_text` "
        "(null: it follows none, and styles that have some are refused)",
    )
    tags: tuple[str, ...] = Field(
        (),
        description="marks that it takes as a style at the start of a text, such as [(happy), (四川话), "
        "(RAP)]; styles with another `tag` are refused",
    )

    def reply_settings(self) -> dict[str, Any]:
        """What the server is said to be able to do changes no reply, but for the name of a field."""
        settings = super().reply_settings()
        unchanged = {"follows_speed", "tags"}
        if self.instructions_field in ("instructions", None):
            unchanged.add("instructions_field")
        return {name: value for name, value in settings.items() if name not in unchanged}


class SpeechConfig(Config):
    engine: Literal["piper", "kokoro", "server"] = Field(
        "piper",
        description="piper: a local program with one voice; kokoro: a local model with several voices (extra "
        "`kokoro`); beside both, voices of flite may speak, and beside kokoro's those of piper; server: "
        "`server`, the default where it is set",
    )
    server: SpeechServerConfig | None = Field(
        None,
        description="OpenAI-compatible server with /audio/speech, such as those of CosyVoice and "
        "Step-Audio-TTS (null: `engine` speaks on this machine)",
    )
    human_voices: tuple[str, ...] = Field(
        PIPER_VOICES,
        min_length=1,
        description="voices to draw from for each conversation, with kokoro among those of the text's "
        "language: names on the server, references to piper voices, flite:NAME, or kokoro's names and "
        "file:/PATH (with kokoro the default is those of its own voices that the assistant doesn't have)",
    )
    assistant_voices: tuple[str, ...] = Field(
        PIPER_VOICES, min_length=1, description="voices of the assistant, as in `human_voices`"
    )
    speed: float = Field(
        1.0, ge=0.25, le=4, description="speed relative to the unmodified voice; 2 is twice as fast"
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """The defaults that depend on other settings."""
        if not isinstance(values, dict):
            return values
        if values.get("server"):
            return {"engine": "server"} | values
        if values.get("engine") != "kokoro":
            return values
        return kokoro_defaults(values) | values

    @model_validator(mode="after")
    def _check_engine(self) -> "SpeechConfig":
        if (self.engine == "server") != (self.server is not None):
            raise ValueError(
                "`engine: server` needs the address and model of a `server`, which no other engine has"
            )
        if self.engine == "kokoro":
            for voice in (*self.human_voices, *self.assistant_voices):
                try:
                    language_of(voice)
                except SetupError as error:
                    raise ValueError(str(error)) from error
        return self

    def voices(self, role: str, text: str) -> Sequence[str]:
        """The voices of a role for a text, by its language where the engine's voices have one."""
        voices = self.human_voices if role == "human" else self.assistant_voices
        return voices_for(text, voices) if self.engine == "kokoro" else voices

    def refusal(self, style: StyleConfig) -> str | None:
        """Why what speaks can't have a style, with the key and what to do; None if it can."""
        server = self.server
        if server is None:
            needs = "`instructions` need" if style.instructions else "a `tag` needs" if style.tag else None
            has = "`speed`, `semitones` or `gain_db`"
            return needs and f"{needs} a server: name one in `speech.server`, or use {has}"
        if style.pace != 1 and not server.follows_speed:
            key = "speed" if style.speed != 1 else "semitones"
            return (
                f"`{key}` needs another speed, and `speech.server.follows_speed` is false: use `instructions`"
            )
        if style.instructions and server.instructions_field is None:
            return "`instructions` need a field of the request: name it in `speech.server.instructions_field`"
        if style.tag and style.tag not in server.tags:
            known = ", ".join(server.tags) or "none"
            return (
                f"the server knows no `tag` {style.tag}: `speech.server.tags` has {known}; add it if it does"
            )
        return None

    @property
    def shared_voices(self) -> tuple[str, ...]:
        """The voices that speak for both human and assistant."""
        return tuple(voice for voice in self.human_voices if voice in self.assistant_voices)


class Backend(Protocol):
    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = UNCHANGED
    ) -> list[SynthesizedAudio | DataError]:
        """Speak each text with a voice and style. Texts that can't be spoken result in a DataError."""


def speakable(text: str) -> str:
    """A text on one line. Raises DataError `no_words` if it has no letters or digits."""
    line = " ".join(text.split())
    if not any(character.isalnum() for character in line):
        raise DataError("no_words", f"there is nothing to say in {line[:40]!r}")
    return line


class Piper:
    """The program piper (GPL, so it runs as a separate process) with one or more voices (.onnx and .json).

    The noise scales are zero, so a text always results in the same samples. Raises SetupError if piper is not
    installed or a voice has no file.
    """

    def __init__(self, voices: Mapping[str, Path], speed: float = 1.0) -> None:
        installed = Path(sys.executable).with_name("piper")
        program = str(installed) if installed.exists() else shutil.which("piper")
        if program is None:
            raise SetupError(
                "local speech synthesis needs the program piper, which is not installed: "
                "pip install piper-tts, or name another in synthesize.speech (kokoro, or a server)"
            )
        self._program = program
        self._voices = {name: _voice_file(name, path) for name, path in voices.items()}
        self._speed = speed

    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = UNCHANGED
    ) -> list[SynthesizedAudio | DataError]:
        """Raises SetupError if piper can't use the voice at all."""
        spoken: list[SynthesizedAudio | DataError] = []
        while len(spoken) < len(texts):
            rest = texts[len(spoken) :]
            done, status = self._run(rest, voice, style.pace)
            spoken += (apply_style(utterance, style) for utterance in done)
            if len(done) < len(rest):  # piper stops at the first line that it can't speak
                if not done and not self._run(["Hello."], voice)[0]:
                    raise SetupError(f"piper can't use the voice {voice}: {status}")
                spoken.append(DataError("not_spoken", f"the voice can't say it: {status}"))
        return spoken

    def _run(self, texts: Sequence[str], voice: str, pace: float = 1.0) -> tuple[list[SynthesizedAudio], str]:
        """The utterances that piper finished, in order, and the last line of its log."""
        import soundfile

        with tempfile.TemporaryDirectory(prefix="aqaa-data-piper-") as folder:
            command = [self._program, "--model", str(self._voices[voice]), "--output_dir", folder]
            command += [
                "--noise_scale",
                "0",
                "--noise_w",
                "0",
                "--length_scale",
                str(1 / (self._speed * pace)),
            ]
            limit = 300 + sum(map(len, texts))
            try:
                ran = subprocess.run(
                    command, input="\n".join(texts).encode(), capture_output=True, timeout=limit
                )
                succeeded, log = ran.returncode == 0, ran.stderr.decode("utf-8", "replace")
            except subprocess.TimeoutExpired:
                succeeded, log = False, f"it took over {limit:.0f} s"
            # File names are timestamps, so their order is that of the lines.
            files = sorted(Path(folder).glob("*.wav"), key=lambda file: int(file.stem))
            if not succeeded:  # the last file may be incomplete
                files = files[:-1]
            elif len(files) != len(texts):
                raise SetupError(
                    f"piper wrote {len(files)} files for {len(texts)} lines; check that {self._program} "
                    "is that of piper-tts"
                )
            spoken = [SynthesizedAudio(*soundfile.read(file, dtype="float32")) for file in files]
        return spoken, (log.strip().splitlines() or ["it says nothing"])[-1][:200]


def _voice_file(name: str, path: Path) -> Path:
    files = [path] if path.is_file() else sorted(path.glob("*.onnx"))
    if len(files) != 1:
        raise SetupError(f"voice {name}: {path} must be, or contain, exactly one .onnx file of a piper voice")
    return files[0]


class ByVoice:
    """Speaks with the backend that a voice belongs to."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = UNCHANGED
    ) -> list[SynthesizedAudio | DataError]:
        return self._backends[voice].speak(texts, voice, style)


class SpeechServer:
    """Client of `POST /audio/speech` on an OpenAI-compatible server.

    A server may speak the same text differently each time: each `take` is a request of its own.
    """

    def __init__(self, config: SpeechConfig, endpoint: Endpoint, take: int = 0) -> None:
        assert config.server is not None
        self._server = config.server
        self._speed = config.speed
        self._endpoint = endpoint
        self._take = take

    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = UNCHANGED
    ) -> list[SynthesizedAudio | DataError]:
        return [self._speak(text, voice, style) for text in texts]

    def _speak(self, text: str, voice: str, style: StyleConfig) -> SynthesizedAudio | DataError:
        said = f"{style.tag or ''}{text}"
        body: dict[str, Any] = {
            "model": self._server.model,
            "input": said,
            "voice": voice,
            "response_format": "wav",
        }
        speed = round(self._speed * style.pace, 4)
        if speed != 1:  # not all servers support it
            body["speed"] = speed
        if style.instructions and self._server.instructions_field:
            body[self._server.instructions_field] = style.instructions
        cost = Cost(requests=1, characters=len(said) + len(style.instructions or ""))
        try:
            spoken = self._endpoint.post(
                "/audio/speech", body, cost, lambda reply: (read_audio(reply), cost), take=self._take
            )
        except DataError as error:
            return error
        return apply_style(spoken, style)
