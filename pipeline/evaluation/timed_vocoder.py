"""The vocoder under test: speech from an utterance's tokens, and from its mel spectrogram only."""

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
from stages.train.vocoder.voice_generator import VoiceGenerator


class TimedVocoder:
    """A vocoder, on the GPU if there is one, that measures the time it takes."""

    def __init__(self, folder: Path | None, seed: int) -> None:
        """The bundled one without a folder. Raises SetupError if the folder holds no vocoder."""
        self.source = open_answer_vocoder(folder, stream=False)
        self._vocoder = self.source.vocoder
        self._seed = seed
        self.wall_seconds = 0.0
        """Spent from tokens to waveforms."""
        self.cpu_seconds = 0.0
        """The same, of all cores."""
        self.speech_seconds = 0.0
        """Duration of these waveforms."""

    def conditions(self, original: Original) -> dict[str, Tensor]:
        """The `original`, `mel` -> wave of its own mel unless the vocoder has the generator of a voice, which
        speaks no mels, and `tokens` -> wave: [n] at 22.05 kHz each.

        All are as long as the tokens; the original is scaled like the training data of vocoders. Raises
        DataError `too_short`, or `not_finite` if a network's output is not finite.
        """
        samples = utterance_of(original).audio()
        audios = {"original": samples}
        if not isinstance(self._vocoder.wave, VoiceGenerator):
            with torch.no_grad():
                wave = self._vocoder.wave(log_mel(samples[None].to(self._vocoder.device)))[0].clamp(-1, 1)
            audios["mel"] = _checked(wave)
        return audios | {"tokens": self.speak(original.tokens.tolist())}

    def speak(self, tokens: list[int]) -> Tensor:
        """Samples [n] at 22.05 kHz."""
        wall, cpu = time.perf_counter(), time.process_time()
        samples = _checked(self._vocoder.speak(tokens, seed=self._seed))
        self.wall_seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu
        self.speech_seconds += len(samples) / RATE
        return samples

    def about(self) -> dict[str, Any]:
        """Which vocoder it is, and the time it took."""
        return {
            "folder": str(self.source.directory),
            "device": self._vocoder.device.type,
            "seconds": round(self.wall_seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "of_speech": round(self.speech_seconds, 3),
            "real_time_factor": (
                round(self.wall_seconds / self.speech_seconds, 4) if self.speech_seconds else None
            ),
        }


def utterance_of(original: Original) -> VocoderUtterance:
    import soxr

    if not len(original.tokens):
        raise DataError("too_short", f"it is shorter than a group of codes ({GROUP_SECONDS} s)")
    samples = soxr.resample(original.samples, SAMPLE_RATE, RATE)
    return VocoderUtterance(original.name, original.tokens, samples)


def _checked(wave: Tensor) -> Tensor:
    if not torch.isfinite(wave).all():
        raise DataError("not_finite", "the vocoder's output for it is not finite")
    return wave.cpu()
