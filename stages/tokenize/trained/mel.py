"""Whisper's log-mel spectrum in torch, of many windows at once."""

import torch
from torch import Tensor

WINDOW, HOP = 400, 160
"""Samples at 16 kHz."""
DECADES = 8
"""Dynamic range below the loudest value."""


class WhisperMel:
    """Log-mel spectra [B, bands, n // 160] of samples [B, n] at 16 kHz, as Whisper was trained on."""

    def __init__(self, bands: int) -> None:
        from faster_whisper.feature_extractor import FeatureExtractor

        self._filters = torch.from_numpy(FeatureExtractor(feature_size=bands).mel_filters).float()
        self._window = torch.hann_window(WINDOW)

    def __call__(self, samples_BN: Tensor) -> Tensor:
        window = self._window.to(samples_BN.device)
        spectrum = torch.stft(samples_BN, WINDOW, HOP, window=window, return_complex=True)
        power = spectrum[..., :-1].abs().square()
        log = (self._filters.to(power.device) @ power).clamp(min=1e-10).log10()
        return (torch.maximum(log, log.amax((1, 2), keepdim=True) - DECADES) + 4) / 4
