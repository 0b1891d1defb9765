"""Pitch level and range by FCPE, with the model bundled in torchfcpe."""

import io
import threading
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from stages.gpu import DeviceName, device_of
from stages.stage import SAMPLE_RATE, Samples

MIN_VOICED_FRAMES = 10
"""Voiced frames of 10 ms below which no pitch is reported."""
_LOADING = threading.Lock()
"""Because standard output is redirected for all threads."""


@dataclass(frozen=True)
class Pitch:
    """Pitch of a turn, over its voiced frames."""

    median_hz: float
    range_semitones: float
    """From the 10th to the 90th percentile."""


class PitchTracker:
    """FCPE with one model instance per thread, because its mel front end keeps state."""

    def __init__(self, path: Path, device: DeviceName = "cpu") -> None:
        self._path = path
        self._device = device_of(device)
        self._local = threading.local()

    def track(self, samples: Samples) -> Pitch | None:
        """Pitch of samples [n] at 16 kHz; None if hardly any of it is voiced."""
        return pitch_of(self.hz(samples))

    def hz(self, samples: Samples) -> Samples:
        """Fundamental frequency in Hz of samples [n] at 16 kHz, [frames of 10 ms]; 0 where unvoiced."""
        import torch

        # Resampled audio may exceed full scale, of which FCPE would tell on standard output.
        wave = torch.from_numpy(samples).clamp(-1, 1)[None, :, None].to(self._device)
        hz = self._model().infer(wave, SAMPLE_RATE, decoder_mode="local_argmax", threshold=0.006)
        return cast(Samples, hz[0, :, 0].cpu().numpy())

    def _model(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
        if not hasattr(self._local, "model"):
            from torchfcpe import spawn_infer_model_from_pt

            with _LOADING, redirect_stdout(io.StringIO()):  # it prints; stdout is for our own output
                self._local.model = spawn_infer_model_from_pt(
                    str(self._path), str(self._device), bundled_model=True
                )
        return self._local.model


def pitch_of(hz: Samples) -> Pitch | None:
    """Pitch of fundamental frequencies [frames] in Hz, 0 where unvoiced; None if too few are voiced."""
    voiced = hz[hz > 0].astype(np.float64)
    if len(voiced) < MIN_VOICED_FRAMES:
        return None
    low, median, high = np.percentile(voiced, [10, 50, 90])
    return Pitch(float(median), float(12 * np.log2(high / low)))
