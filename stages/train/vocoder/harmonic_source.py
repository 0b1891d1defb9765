"""What a voice starts from: pulses at the pitch, and noise; the generator filters their spectra (HiFTNet,
section 2.1).

Names of tensors end in their dimensions: B utterances, T frames, F bins, H samples of a frame, N samples.
"""

import math

import torch
from torch import Tensor

from stages.train.vocoder.past import Past, extended, sums
from stages.train.vocoder.shape import HOP, RATE, WINDOW

AHEAD = 2
"""Frames after its own that a frame's window reaches into."""
SAMPLES_AHEAD = (WINDOW + HOP) // 2
"""Samples of a window after the start of its frame."""
PULSE = 1 / (WINDOW / 4)
"""Amplitude of a harmonic, such that the magnitude of its spectrum is 1."""
SPREAD = 1 / math.sqrt(WINDOW * 3 / 8)
"""Standard deviation of noise, such that the mean square of its spectrum's magnitude is 1."""


def source_spectra(hz_BT: Tensor, noise_BHT: Tensor, past: Past | None = None) -> tuple[Tensor, Tensor]:
    """Spectra of the pulses and of the noise, two spectrum_BTF, for the frames that come `AHEAD` before those
    of `hz_BT` (Hz, 0 where unvoiced) and `noise_BHT` (standard deviation 1)."""
    noise_BN = SPREAD * noise_BHT.transpose(1, 2).flatten(1)
    signals = {"pulses": PULSE * pulses(hz_BT, past), "noise": noise_BN}
    window = torch.hann_window(WINDOW, device=hz_BT.device)
    unused = AHEAD * HOP + HOP - SAMPLES_AHEAD
    pulses_BTF, noise_BTF = (
        torch.stft(
            extended(past, name, signal_BN, WINDOW - HOP + unused)[:, :-unused],
            WINDOW,
            HOP,
            window=window,
            center=False,
            return_complex=True,
        ).transpose(1, 2)
        for name, signal_BN in signals.items()
    )
    return pulses_BTF, noise_BTF


def pulses(hz_BT: Tensor, past: Past | None = None) -> Tensor:
    """samples_BN: the sum of all harmonics below half the sampling rate, each a cosine of amplitude 1; zeros
    in unvoiced frames, after which it starts anew."""
    hz_BN = hz_BT.repeat_interleave(HOP, 1).double()
    # In double precision, and from the last unvoiced frame on, so that rounding errors don't add up.
    steps_BN, restarts_BN = hz_BN / RATE, hz_BN == 0
    if past is None:
        turns_BN = sums(steps_BN, restarts_BN, steps_BN.new_zeros(len(steps_BN), 1))
    else:
        turns_BN = past.sums("turns", steps_BN, restarts_BN)
    turns_BN = turns_BN % 1
    harmonics_BN = (RATE / 2 / hz_BN.clamp(min=1)).floor()
    # cos a + cos 2a + .. + cos na = sin((n + 1/2) a) / (2 sin(a / 2)) - 1/2, and n where a is 0.
    half_BN = math.pi * turns_BN
    below_BN = half_BN.sin()
    is_peak_BN = below_BN < 1e-7
    ratio_BN = ((2 * harmonics_BN + 1) * half_BN).sin() / below_BN.masked_fill(is_peak_BN, 1)
    sum_BN = (torch.where(is_peak_BN, 2 * harmonics_BN + 1, ratio_BN) - 1) / 2
    return (sum_BN * (hz_BN > 0)).float()
