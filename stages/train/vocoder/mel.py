"""Log mels as CosyVoice's networks expect them: 22.05 kHz, 80 bands up to 8 kHz, a frame per 256 samples."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.train.vocoder.shape import HOP, MELS, RATE, WINDOW

MAX_FREQUENCY = 8000
"""Hz"""
FLOOR = 1e-5
"""Lower limit of a band's magnitude, before the logarithm."""


def log_mel(samples_BN: Tensor) -> Tensor:
    """mel_BMT of waveforms at 22.05 kHz, T = N // 256; frame t is centred at sample 256 t + 128.

    Natural logarithms of magnitudes. Raises ValueError for fewer than 385 samples, which can't be padded
    by reflection.
    """
    edge = (WINDOW - HOP) // 2
    if samples_BN.shape[-1] <= edge:
        raise ValueError(f"a mel needs at least {edge + 1} samples, got {samples_BN.shape[-1]}")
    padded_BN = F.pad(samples_BN[:, None], (edge, edge), mode="reflect")[:, 0]
    window = torch.hann_window(WINDOW, device=samples_BN.device)
    spectrum_BFT = torch.stft(padded_BN, WINDOW, HOP, window=window, center=False, return_complex=True)
    power_BFT = spectrum_BFT.real.square() + spectrum_BFT.imag.square()
    bands_MF = mel_bands().to(samples_BN.device)
    return (bands_MF @ (power_BFT + 1e-9).sqrt()).clamp(min=FLOOR).log()


@cache
def mel_bands() -> Tensor:
    """bands_MF on Slaney's scale, each of unit area."""
    from librosa.filters import mel

    return torch.from_numpy(mel(sr=RATE, n_fft=WINDOW, n_mels=MELS, fmin=0, fmax=MAX_FREQUENCY))
