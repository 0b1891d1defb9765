"""A causal block of the ISTFT generator and of its pitch head."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.vocoder.layers import Conv
from stages.train.vocoder.past import Past


class ConvNeXt(nn.Module):
    """A depthwise convolution followed by a perceptron (Vocos, section 3.2); one of `layers` such blocks."""

    def __init__(self, width: int, ffn: int, layers: int) -> None:
        super().__init__()
        self.dwconv = Conv(width, width, 7, causal=True, groups=width)
        self.norm = nn.LayerNorm(width)
        self.pwconv1 = nn.Linear(width, ffn)
        self.pwconv2 = nn.Linear(ffn, width)
        self.gamma = nn.Parameter(torch.full((width,), 1 / layers))

    def forward(self, x_BCT: Tensor, past: Past | None = None) -> Tensor:
        x_BTC = self.norm(self.dwconv(x_BCT, past).transpose(1, 2))
        x_BTC = self.gamma * self.pwconv2(F.gelu(self.pwconv1(x_BTC)))
        return x_BCT + cast(Tensor, x_BTC.transpose(1, 2))
