"""The vocoder under test: what it makes of an utterance's tokens, and of its mel alone."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.evaluation.originals import Original
from pipeline.inference.answer_vocoder import open_answer_vocoder
from schemas.errors import DataError
from schemas.layout import GROUP_SECONDS
from stages.stage import SAMPLE_RATE
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import RATE
from stages.train.vocoder.utterances import VocoderUtterance


class TimedVocoder:
    """A vocoder, on the GPU where there is one, with the time that it takes."""

    def __init__(self, folder: Path | None, seed: int) -> None:
        """Raises SetupError where the folder (None: what comes with the project) holds no vocoder."""
        self.voice = open_answer_vocoder(folder, stream=False)
        self._vocoder = self.voice.vocoder
        self._seed = seed
        self.took = 0.0
        """Seconds from tokens to waves."""
        self.computed = 0.0
        """Seconds of all cores for that."""
        self.spoke = 0.0
        """Seconds of them."""

    def conditions(self, original: Original) -> tuple[Tensor, Tensor, Tensor]:
        """The original, mel -> wave of its own mel, and tokens -> mel -> wave: [n] at 22.05 kHz each, for the
        time of its tokens, the original as loud as vocoders are taught. Raises DataError `too_short`, or
        `not_finite` where a network says no numbers."""
        sound = utterance_of(original).sound()
        with torch.no_grad():
            wave = self._vocoder.wave(log_mel(sound[None].to(self._vocoder.device)))[0].clamp(-1, 1)
        return sound, _checked(wave), self.speak(original.tokens.tolist())

    def speak(self, tokens: list[int]) -> Tensor:
        """samples [n] at 22.05 kHz."""
        began, computed = time.perf_counter(), time.process_time()
        spoken = _checked(self._vocoder.speak(tokens, seed=self._seed))
        self.took += time.perf_counter() - began
        self.computed += time.process_time() - computed
        self.spoke += len(spoken) / RATE
        return spoken

    def about(self) -> dict[str, Any]:
        """What it is, and what came of its clock."""
        return {
            "folder": str(self.voice.directory),
            "device": self._vocoder.device.type,
            "seconds": round(self.took, 3),
            "cpu_seconds": round(self.computed, 3),
            "of_speech": round(self.spoke, 3),
            "real_time_factor": round(self.took / self.spoke, 4) if self.spoke else None,
        }


def utterance_of(original: Original) -> VocoderUtterance:
    import soxr

    if not len(original.tokens):
        raise DataError("too_short", f"it is too short for a group of codes ({GROUP_SECONDS} s)")
    samples = soxr.resample(original.sound, SAMPLE_RATE, RATE)
    return VocoderUtterance(original.name, original.tokens, samples)


def _checked(wave: Tensor) -> Tensor:
    if not torch.isfinite(wave).all():
        raise DataError("not_finite", "what the vocoder makes of it holds no numbers")
    return wave.cpu()
