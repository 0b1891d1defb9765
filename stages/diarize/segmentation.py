"""Local speaker segmentation with pyannote: up to three speakers per chunk of 10 s, 59 frames per second."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SetupError
from stages.diarize.weights import weights_only
from stages.gpu import DeviceName, device_of, halving_on_oom
from stages.stage import SAMPLE_RATE, Samples

STEP_SHARE = 0.25
"""Step from one chunk to the next as a share of its length, as in pyannote's pipeline for these weights."""
BATCH = {"cpu": 8, "cuda": 64}
"""Chunks at once."""


@dataclass(frozen=True)
class SpeakerActivity:
    """Which local speakers are active in each chunk, and how many speakers in each frame.

    Each chunk numbers its local speakers independently. Frames are counted from the start of the audio.
    """

    local: NDArray[np.bool_]
    """Activity, [chunks, frames per chunk, local speakers]."""
    others: NDArray[np.float16]
    """Probability that somebody else than each local speaker is active, [chunks, frames per chunk, local
    speakers]."""
    first: NDArray[np.int64]
    """First frame of each chunk, [chunks]."""
    count: NDArray[np.int64]
    """Number of simultaneous speakers, [frames]: the mean over chunks, rounded."""
    step: float
    """Seconds from frame to frame."""
    offset: float
    """Seconds from the start of a frame to its middle."""

    def seconds(self, frame: Any) -> Any:
        """Time in seconds of the middle of a frame, or of an array of frames."""
        return frame * self.step + self.offset

    def nearest_chunk(self) -> NDArray[np.int64]:
        """Index of the chunk in which each frame is closest to the middle, [frames]."""
        middle = self.first + self.local.shape[1] / 2
        frames = np.arange(len(self.count))
        after = np.clip(np.searchsorted(middle, frames), 1, max(1, len(middle) - 1))
        if len(middle) == 1:
            return np.zeros(len(frames), dtype=np.int64)
        return np.where(frames - middle[after - 1] <= middle[after] - frames, after - 1, after)


class Segmentation:
    """A pyannote powerset segmentation model. Raises SetupError for any other model."""

    def __init__(self, path: Path, device: DeviceName = "cpu") -> None:
        from pyannote.audio import Model
        from pyannote.audio.utils.powerset import Powerset

        with weights_only(f"diarize.segmentation: {path}"):
            model: Any = Model.from_pretrained(path)
        specifications = getattr(model, "specifications", None)
        if specifications is None or not specifications.powerset:
            raise SetupError(f"{path}: diarize.segmentation must be a pyannote powerset segmentation model")
        self._device = device_of(device)
        self._model = model.to(self._device).eval()
        classes: Any = Powerset(len(specifications.classes), specifications.powerset_max_classes)
        self._speakers_of = classes.mapping.numpy().astype(bool)  # [powerset classes, local speakers]
        # Whether a class holds anybody else than each local speaker, [powerset classes, local speakers].
        self._others_of = (self._speakers_of.sum(axis=1, keepdims=True) > self._speakers_of).astype(
            np.float32
        )
        self._chunk = round(specifications.duration * SAMPLE_RATE)
        self._hop = round(specifications.duration * SAMPLE_RATE * STEP_SHARE)
        self._frame = model.receptive_field

    def __call__(self, samples: Samples) -> SpeakerActivity:
        """Speaker activity in samples [n] at 16 kHz. The last chunk is padded with silence."""
        import torch

        chunks = 1 + max(0, -(-(len(samples) - self._chunk) // self._hop))

        def scores_of(chunk: Sequence[int]) -> NDArray[np.float32]:
            """Log probabilities [chunks, frames per chunk, powerset classes]."""
            batch = np.zeros((len(chunk), 1, self._chunk), dtype=np.float32)
            for row, number in enumerate(chunk):
                piece = samples[number * self._hop : number * self._hop + self._chunk]
                batch[row, 0, : len(piece)] = piece
            with torch.inference_mode():
                scores: Any = self._model(torch.from_numpy(batch).to(self._device))
            return np.asarray(scores.cpu())

        local, others = [], []
        size = BATCH[self._device.type]
        for start in range(0, chunks, size):
            for scores in halving_on_oom(scores_of, range(start, min(start + size, chunks))):
                local.append(self._speakers_of[scores.argmax(axis=-1)])
                others.append((np.exp(scores) @ self._others_of).astype(np.float16))
        return self._activity(np.concatenate(local), np.concatenate(others), len(samples))

    def _activity(
        self, local: NDArray[np.bool_], others: NDArray[np.float16], samples: int
    ) -> SpeakerActivity:
        step = float(self._frame.step)
        frames = local.shape[1]
        first = np.rint(np.arange(len(local)) * self._hop / SAMPLE_RATE / step).astype(np.int64)
        total = np.zeros((2, first[-1] + frames))
        for chunk, start in zip(local, first, strict=True):
            total[:, start : start + frames] += [chunk.sum(axis=1), np.ones(frames)]
        count = np.rint(total[0] / total[1]).astype(np.int64)
        count = count[: int(samples / SAMPLE_RATE / step)]
        return SpeakerActivity(local, others, first, count, step, float(self._frame.duration) / 2)
