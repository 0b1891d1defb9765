"""A voice's own speech as training data: sentences are spoken to a folder, and their latents kept.

Each sentence has the tokens of its speech and of a changed copy of it, both for the same latents.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stages.stage import SAMPLE_RATE, Samples
from stages.train.vocoder.changes import changed
from stages.train.vocoder.phonemes import phonemes_of
from stages.train.vocoder.shape import BLOCK, HOP, RATE, VoiceShape, frames_of
from stages.train.vocoder.utterances import LatentUtterance
from stages.train.vocoder.voice_file import SpokenPhonemes, voice_file
from stages.train.vocoder.voice_generator import VoiceGenerator

NOISE = (0.3, 0.75)
"""Range of the scale of what is drawn of the latents; piper's default is 0.667."""
PACE = (0.75, 1.4)
"""Range of the factor of all durations."""
RHYTHM = 0.8
"""Scale of what is drawn of the durations."""
PAUSE = (0, 90)
"""Range of the frames of silence before and after a sentence."""
QUIET_DB = -60.0
"""Level below which frames are silence."""
EDGE = 2
"""Frames at both ends of a pause that still belong to speech."""
HELD_OUT = 200
"""One of this number of sentences is held out."""
COPIES = 2
"""The speech as it is, and changed."""

Encode = Callable[[Sequence[Samples]], list[NDArray[np.int32]]]
"""Utterances at 16 kHz -> numbers N of `<audio_N>` of each: passed in by the pipeline."""


class SpokenSentences:
    """`Utterances` in a folder that `speak_sentences` filled."""

    def __init__(self, folder: Path, held_out: bool) -> None:
        files = sorted(folder.glob("[0-9]*.npz"))
        self._files = [file for file in files if (int(file.stem) % HELD_OUT == HELD_OUT - 1) == held_out]

    def __len__(self) -> int:
        return COPIES * len(self._files)

    def read(self, number: int) -> LatentUtterance:
        file = self._files[number // COPIES]
        with np.load(file) as arrays:
            tokens = arrays["tokens"][number % COPIES]
            return LatentUtterance(f"{file.stem}-{number % COPIES}", tokens, arrays["latents"])


def speak_sentences(
    sentences: Sequence[str],
    voice: Path,
    shape: VoiceShape,
    encode: Encode,
    folder: Path,
    seed: int,
    on_sentence: Callable[[int], None] = lambda number: None,
) -> None:
    """Speak each sentence that is not in the folder yet. Those too short for a block of tokens are left out.

    Raises SetupError if espeak-ng is missing, or for another voice than that of `shape`.
    """
    file = voice_file(voice)
    generator = VoiceGenerator(shape).eval().requires_grad_(False)
    generator.read(file)
    speaker = SpokenPhonemes(file)
    folder.mkdir(parents=True, exist_ok=True)
    for number, sentence in enumerate(sentences):
        done = folder / f"{number:07}.npz"
        if not done.exists():
            [phonemes] = phonemes_of([sentence], speaker.language)
            draw = np.random.default_rng([seed, 4, number])
            pace = float(np.exp(draw.uniform(*np.log(PACE))))
            spoken = speaker.latents(phonemes, draw.uniform(*NOISE), pace, RHYTHM)
            latents = with_pauses(spoken, generator, draw)
            samples = speech_of(latents, generator)
            tokens = encode([samples, changed(samples, draw)])
            count = len(tokens[0])
            if count >= BLOCK and frames_of(count) <= latents.shape[1]:
                partial = folder / ".partial.npz"
                np.savez(partial, latents=latents.astype(np.float16), tokens=np.stack(tokens))
                partial.rename(done)
        on_sentence(number)


def speech_of(latents: NDArray[np.float32], generator: VoiceGenerator) -> Samples:
    """Speech [n] at 16 kHz of latents [192, frames]."""
    import soxr

    samples = generator(torch.from_numpy(latents)[None])[0].numpy()
    return np.asarray(soxr.resample(samples, RATE, SAMPLE_RATE), np.float32)


def with_pauses(
    latents: NDArray[np.float32], generator: VoiceGenerator, draw: np.random.Generator
) -> NDArray[np.float32]:
    """Latents [192, frames] with more silence before and after them, of frames of the silence that they end
    with."""
    frames_FH = generator(torch.from_numpy(latents)[None])[0].numpy().reshape(-1, HOP)
    quiet = 20 * np.log10(np.sqrt((frames_FH**2).mean(1)) + 1e-6) < QUIET_DB
    end = int(np.argmin(quiet[::-1]))
    if end <= 2 * EDGE + 1:
        return latents
    silence = latents[:, len(quiet) - end + EDGE : len(quiet) - EDGE]
    there_and_back = np.concatenate([silence, silence[:, ::-1]], 1)
    before, after = (
        np.resize(there_and_back.T, (int(draw.integers(*PAUSE)), len(latents))).T for _ in range(2)
    )
    return np.concatenate([before, latents, after], 1)
