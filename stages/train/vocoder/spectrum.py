"""Distance between two waveforms that ignores phase.

Names of tensors end in their dimensions: B utterances, N samples.
"""

import torch
from torch import Tensor

from stages.train.vocoder.discriminators import RESOLUTIONS


def spectral_distance(generated_BN: Tensor, real_BN: Tensor) -> Tensor:
    """Mean over three resolutions of log-magnitude distance plus spectral convergence (Parallel WaveGAN,
    section 3.2)."""
    distances = []
    for window in RESOLUTIONS:
        generated, real = (_magnitudes(samples_BN, window) for samples_BN in (generated_BN, real_BN))
        logs = (generated.log() - real.log()).abs().mean()
        convergence = torch.linalg.vector_norm(real - generated) / torch.linalg.vector_norm(real)
        distances.append(logs + convergence)
    return torch.stack(distances).mean()


def _magnitudes(samples_BN: Tensor, window: int) -> Tensor:
    shape = torch.hann_window(window, device=samples_BN.device)
    spectrum = torch.stft(samples_BN.float(), window, window // 4, window=shape, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-7).sqrt()
