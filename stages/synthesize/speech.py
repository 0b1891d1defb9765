"""Text to speech: piper with a voice on this machine, or any OpenAI-compatible server."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from schemas.errors import DataError, SetupError
from stages.stage import Config
from stages.synthesize.audio import SynthesizedAudio, apply_style, read_audio
from stages.synthesize.cost import Cost
from stages.synthesize.endpoint import Endpoint, EndpointConfig
from stages.synthesize.styles import OWN, StyleConfig


class SpeechConfig(Config):
    server: EndpointConfig | None = Field(
        None,
        description="an OpenAI-compatible server of /audio/speech, as CosyVoice, Step-Audio-TTS and others "
        "have; null: the program piper, on this machine",
    )
    human_voices: tuple[str, ...] = Field(
        ("package:piper-joe",),
        min_length=1,
        description="one is drawn for each conversation: names on the server, or piper voices by reference",
    )
    assistant_voices: tuple[str, ...] = Field(
        ("package:piper-joe",), min_length=1, description="as human_voices"
    )
    speed: float = Field(1.0, ge=0.25, le=4, description="1 is the voice's own, 2 twice as fast")


class Backend(Protocol):
    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = OWN
    ) -> list[SynthesizedAudio | DataError]:
        """Each text spoken by a voice in a style, or why it is not."""


def speakable(text: str) -> str:
    """A text on one line. Raises DataError `no_words` where nothing in it can be said."""
    line = " ".join(text.split())
    if not any(character.isalnum() for character in line):
        raise DataError("no_words", f"there is nothing to say in {line[:40]!r}")
    return line


class Piper:
    """The program piper (GPL, run as a program of its own) with one voice file or more (.onnx and .json).

    It draws no noise, so that a text always becomes the same samples.
    """

    def __init__(self, voices: Mapping[str, Path], speed: float = 1.0) -> None:
        beside = Path(sys.executable).with_name("piper")
        program = str(beside) if beside.exists() else shutil.which("piper")
        if program is None:
            raise SetupError(
                "speech on this machine needs the program piper, which is not installed: "
                "pip install piper-tts, or name a server in synthesize.speech.server"
            )
        self._program = program
        self._voices = {name: _voice_file(name, path) for name, path in voices.items()}
        self._speed = speed

    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = OWN
    ) -> list[SynthesizedAudio | DataError]:
        """Raises SetupError where piper can't use the voice at all."""
        spoken: list[SynthesizedAudio | DataError] = []
        while len(spoken) < len(texts):
            rest = texts[len(spoken) :]
            done, said = self._run(rest, voice, style.pace)
            spoken += (apply_style(utterance, style) for utterance in done)
            if len(done) < len(rest):  # it ends at the first line that it can't say
                if not done and not self._run(["Hello."], voice)[0]:
                    raise SetupError(f"piper can't speak with the voice {voice}: {said}")
                spoken.append(DataError("not_spoken", f"the voice can't say it: {said}"))
        return spoken

    def _run(self, texts: Sequence[str], voice: str, pace: float = 1.0) -> tuple[list[SynthesizedAudio], str]:
        """The first texts, as many as piper spoke, and the last line of what it said of its work."""
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
                whole, said = ran.returncode == 0, ran.stderr.decode("utf-8", "replace")
            except subprocess.TimeoutExpired:
                whole, said = False, f"it took over {limit:.0f} s"
            # Named by a clock, so that the order of names is the order of lines.
            files = sorted(Path(folder).glob("*.wav"), key=lambda file: int(file.stem))
            if not whole:  # the last one was not finished
                files = files[:-1]
            elif len(files) != len(texts):
                raise SetupError(
                    f"piper made {len(files)} files of {len(texts)} lines: is it another program?"
                )
            spoken = [SynthesizedAudio(*soundfile.read(file, dtype="float32")) for file in files]
        return spoken, (said.strip().splitlines() or ["it says nothing"])[-1][:200]


def _voice_file(name: str, path: Path) -> Path:
    files = [path] if path.is_file() else sorted(path.glob("*.onnx"))
    if len(files) != 1:
        raise SetupError(f"voice {name}: {path} is not, or does not hold, one .onnx file of a piper voice")
    return files[0]


class SpeechServer:
    """`POST /audio/speech` of an OpenAI-compatible server."""

    def __init__(self, config: SpeechConfig, endpoint: Endpoint) -> None:
        assert config.server is not None
        self._model = config.server.model
        self._speed = config.speed
        self._endpoint = endpoint

    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = OWN
    ) -> list[SynthesizedAudio | DataError]:
        return [self._speak(text, voice, style) for text in texts]

    def _speak(self, text: str, voice: str, style: StyleConfig) -> SynthesizedAudio | DataError:
        body: dict[str, Any] = {"model": self._model, "input": text, "voice": voice, "response_format": "wav"}
        speed = round(self._speed * style.pace, 4)
        if speed != 1:  # not every server knows it
            body["speed"] = speed
        if style.instructions:
            body["instructions"] = style.instructions
        cost = Cost(requests=1, characters=len(text) + len(style.instructions or ""))
        try:
            spoken = self._endpoint.post("/audio/speech", body, cost, lambda reply: (read_audio(reply), cost))
        except DataError as error:
            return error
        return apply_style(spoken, style)
