"""Speech with what is said in it, on disk, to train codes from."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.stage import SAMPLE_RATE, Samples
from stages.tokenize.windows import WINDOW

AUDIO, TEXTS = "audio.i16", "texts.jsonl"
REPORTED = 300 * SAMPLE_RATE
"""Samples between two lines of progress."""
SHORTEST = SAMPLE_RATE
"""Samples of an utterance that is worth training from."""


@dataclass(frozen=True)
class SpokenText:
    samples: Samples
    """[n] at 16 kHz"""
    tokens: tuple[int, ...]
    """Whisper's, from `<|startoftranscript|>` to `<|endoftext|>`."""
    prompt: int
    """How many of these come before the text."""


class TrainingSpeech(Protocol):
    """Spoken texts by number."""

    @property
    def seconds(self) -> Sequence[float]:
        """Of each utterance."""

    def read(self, number: int) -> SpokenText: ...


class SpeechFolder:
    """Spoken texts in a folder: samples of 16 bits in one file, and a line for each utterance."""

    def __init__(self, folder: Path) -> None:
        with (folder / TEXTS).open(encoding="utf-8") as lines:
            self._rows = [json.loads(line) for line in lines]
        # An empty file can't be mapped.
        self._audio: NDArray[np.int16] = (
            np.memmap(folder / AUDIO, np.int16, "r") if self._rows else np.zeros(0, np.int16)
        )

    @property
    def seconds(self) -> Sequence[float]:
        return [row["samples"] / SAMPLE_RATE for row in self._rows]

    def read(self, number: int) -> SpokenText:
        row = self._rows[number]
        samples = self._audio[row["first"] : row["first"] + row["samples"]]
        return SpokenText(
            (samples / np.float32(32768)).astype(np.float32), tuple(row["tokens"]), row["prompt"]
        )


def write_speech(
    folder: Path,
    utterances: Iterable[Samples],
    tokens: Callable[[Samples], tuple[Sequence[int], int]],
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Store utterances (float32 [n] at 16 kHz) with the tokens of what is said in them, prompt first.

    Those under a second or over 30 s are left out, and those in which nothing is said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    with (folder / AUDIO).open("wb") as audio, (folder / TEXTS).open("w", encoding="utf-8") as texts:
        for samples in utterances:
            if not SHORTEST <= len(samples) <= WINDOW:
                continue
            said, prompt = tokens(samples)
            if len(said) < prompt + 2:  # only the end
                continue
            audio.write((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
            row = {
                "first": first,
                "samples": len(samples),
                "tokens": list(said),
                "prompt": prompt,
            }
            texts.write(json.dumps(row) + "\n")
            first += len(samples)
            if first // REPORTED > (first - len(samples)) // REPORTED:
                progress(f"{first / SAMPLE_RATE / 60:.0f} minutes of speech transcribed")
