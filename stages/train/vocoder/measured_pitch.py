"""The pitch of utterances at the frames of their mels, as the pitch measure finds it: what is learnt from."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.stage import SAMPLE_RATE, Samples
from stages.train.vocoder.shape import HOP, RATE, frames_of
from stages.train.vocoder.utterances import VocoderUtterance

MEASURE_STEP = 0.01
"""Seconds between two values of the pitch measure; the first one is at 0."""

PitchMeasure = Callable[[Samples], Samples]
"""Samples [n] at 16 kHz -> pitch in Hz every 10 ms, 0 where unvoiced: passed in by the pipeline."""


class MeasuredPitch:
    """Measures each utterance once, and keeps the result in a folder."""

    def __init__(self, folder: Path, measure: PitchMeasure) -> None:
        self._folder = folder
        self._measure = measure

    def __call__(self, utterance: VocoderUtterance) -> NDArray[np.float32]:
        """Hz [T] for the duration of the tokens, 0 where unvoiced."""
        import soxr

        file = self._folder / f"{utterance.key}.npy"
        if not file.exists():
            samples = soxr.resample(utterance.audio().numpy(), RATE, SAMPLE_RATE)
            measured = self._measure(samples.clip(-1, 1).astype(np.float32))
            self._folder.mkdir(parents=True, exist_ok=True)
            # Another process may measure the same utterance.
            partial = file.with_name(f".{file.stem}.{os.getpid()}.npy")
            np.save(partial, at_frames(measured, frames_of(len(utterance.tokens))))
            partial.rename(file)
        hz: NDArray[np.float32] = np.load(file)
        return hz


def at_frames(measured_hz: Samples, frames: int) -> NDArray[np.float32]:
    """Measured pitch at the middle of mel frames: between two voiced values in proportion, else the nearer
    one."""
    if not len(measured_hz):
        return np.zeros(frames, np.float32)
    position = (np.arange(frames) + 0.5) * (HOP / RATE / MEASURE_STEP)
    last = len(measured_hz) - 1
    low = np.floor(position).astype(int)
    before, after = measured_hz[low.clip(max=last)], measured_hz[(low + 1).clip(max=last)]
    nearest = measured_hz[np.rint(position).astype(int).clip(max=last)]
    between = before + (position - low) * (after - before)
    hz: NDArray[np.float32] = np.where((before > 0) & (after > 0), between, nearest).astype(np.float32)
    return hz
