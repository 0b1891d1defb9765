"""Mel to pitch: a small causal network, trained to repeat what the pitch measure finds in the waveform.

Names of tensors end in their dimensions: B utterances, T frames, M mels, C channels.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.vocoder.convnext import ConvNeXt
from stages.train.vocoder.past import Past
from stages.train.vocoder.shape import MELS

LAYERS = 3
MIDDLE = math.log(160)
"""Logarithm of the pitch in Hz that the network's output 0 means; 1 is a factor of e more."""
RANGE = (math.log(30), math.log(2000))
"""Limits of the logarithm."""


class PitchHead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(MELS, width, 3)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(ConvNeXt(width, 2 * width, LAYERS) for _ in range(LAYERS))
        self.final_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2)

    def forward(self, x_BMT: Tensor, past: Past | None = None) -> tuple[Tensor, Tensor]:
        """log_pitch_BT and voiced_BT, a logit, of normalised mels that have one more frame on each side."""
        x_BCT = self.norm(self.embed(x_BMT).transpose(1, 2)).transpose(1, 2)
        for layer in self.layers:
            x_BCT = layer(x_BCT, past)
        pitch_BT, voiced_BT = self.out(self.final_norm(x_BCT.transpose(1, 2))).float().unbind(-1)
        return (pitch_BT + MIDDLE).clamp(*RANGE), voiced_BT


def pitch_hz(log_pitch_BT: Tensor, voiced_BT: Tensor) -> Tensor:
    """hz_BT of the head's outputs, 0 where unvoiced."""
    return log_pitch_BT.exp() * (voiced_BT > 0)


def pitch_loss(log_pitch_BT: Tensor, voiced_BT: Tensor, hz_BT: Tensor) -> Tensor:
    """Distance from measured pitch, 0 where unvoiced: that of logarithms over voiced frames, plus the cross
    entropy of voicing over all."""
    is_voiced_BT = hz_BT > 0
    distance_BT = (log_pitch_BT - hz_BT.clamp(min=1).log()).abs() * is_voiced_BT
    entropy = F.binary_cross_entropy_with_logits(voiced_BT, is_voiced_BT.float())
    return distance_BT.sum() / is_voiced_BT.sum().clamp(min=1) + entropy
