"""What the generator from mel to wave is trained by, besides discriminators."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.train.vocoder.istft import Generator
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.pitch_head import pitch_loss
from stages.train.vocoder.shape import HOP
from stages.train.vocoder.spectrum import spectral_distance
from stages.train.vocoder.utterances import WaveBatch

WEIGHTS = {"mel": 45.0, "spectrum": 10.0, "pitch": 10.0}
"""Of each loss, relative to the discriminators' (that of mels: Vocos, section 3.3). That of the pitch trains
the pitch head and nothing else."""


def wave_losses(
    wave: Generator, batch: WaveBatch, noise_BHT: Tensor, precision: AbstractContextManager[None]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Waveforms samples_BN of a batch, and their losses. A harmonic source has the measured pitch.

    `noise_BHT` is that of the source; `precision` is that of the networks. Spectra are compared outside of
    it: bfloat16 is not enough for that.
    """
    losses = {}
    with precision:
        if wave.shape.pitch:
            generated_BN = wave(batch.mel_BMT, batch.hz_BT, noise_BHT)
            log_pitch_BT, voiced_BT = wave.pitch(F.pad(wave.normalised(batch.mel_BMT), (1, 1)))
            losses["pitch"] = pitch_loss(log_pitch_BT, voiced_BT, batch.hz_BT)
        else:
            generated_BN = wave(batch.mel_BMT)
    losses["mel"] = (log_mel(generated_BN) - log_mel(batch.audio_BN)).abs().mean()
    losses["spectrum"] = spectral_distance(generated_BN, batch.audio_BN)
    return generated_BN, losses


def weighted(losses: dict[str, Tensor]) -> Tensor:
    """Their sum by weight."""
    return torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()


def source_noise(rows: int, frames: int, wave: Generator, generator: torch.Generator) -> Tensor:
    """noise_BHT of the source of excerpts, standard deviation 1."""
    return torch.randn(rows, HOP, frames + wave.before, generator=generator)
