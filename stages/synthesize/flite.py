"""flite: a small program with a few English voices, fifty times as fast as speech."""

import shutil
import subprocess
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import soundfile

from schemas.errors import DataError, SetupError
from stages.synthesize.audio import SynthesizedAudio, apply_style
from stages.synthesize.styles import UNCHANGED, StyleConfig

PREFIX = "flite:"
TIMEOUT = 60
"""Seconds for a text; it needs a tenth of a second."""
SILENT = 0.01
"""Peak of an utterance without a word."""


def is_flites(voice: str) -> bool:
    """Whether a voice is one of flite, such as `flite:slt`."""
    return voice.startswith(PREFIX)


class Flite:
    """The program flite with one or more of its voices. A text always has the same samples, of 16 bits.

    Raises SetupError if flite is not installed or has no such voice.
    """

    def __init__(self, voices: Collection[str], speed: float = 1.0) -> None:
        program = shutil.which("flite")
        if program is None:
            raise SetupError(
                f"{min(voices)}: the program flite is not installed: apt install flite, brew install flite, "
                "or name another voice"
            )
        self.program = Path(program)
        known = self._run("-lv").partition(":")[2].split()
        if unknown := [voice for voice in voices if voice.removeprefix(PREFIX) not in known]:
            raise SetupError(
                f"flite has no voice {unknown[0]!r}: it has {', '.join(map(PREFIX.__add__, known))}"
            )
        self._speed = speed

    @property
    def version(self) -> str:
        return self._run("--version")

    def speak(
        self, texts: Sequence[str], voice: str, style: StyleConfig = UNCHANGED
    ) -> list[SynthesizedAudio | DataError]:
        """Raises SetupError if flite fails."""
        return [self._speak(text, voice, style) for text in texts]

    def _speak(self, text: str, voice: str, style: StyleConfig) -> SynthesizedAudio | DataError:
        name, stretch = voice.removeprefix(PREFIX), f"duration_stretch={1 / (self._speed * style.pace):.4f}"
        with tempfile.NamedTemporaryFile(prefix="aqaa-data-flite-", suffix=".wav") as file:
            self._run("-voice", name, "--setf", stretch, "-t", text, "-o", file.name)
            if not Path(file.name).stat().st_size:
                raise SetupError(f"flite wrote nothing for the text {text[:40]!r}")
            samples, rate = soundfile.read(file.name, dtype="float32")
        if np.abs(samples).max(initial=0) < SILENT:
            return DataError("not_spoken", f"the voice can't say {text[:40]!r}")
        return apply_style(SynthesizedAudio(samples, rate), style)

    def _run(self, *arguments: str) -> str:
        """What flite prints. Raises SetupError if it can't run or doesn't end."""
        command = [str(self.program), *arguments]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SetupError(f"flite failed: {error}") from None
        return ran.stdout
