"""Layers with look-ahead, as in the public network, or causal ones, which can stream."""

from torch import Tensor, nn
from torch.nn import functional as F

from stages.train.vocoder.past import Past, extended


class Conv(nn.Conv1d):
    """A convolution that keeps the length; a causal one sees only earlier steps."""

    def __init__(self, inputs: int, outputs: int, kernel: int, causal: bool, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, padding=0 if causal else kernel // 2, groups=groups)
        self.reach = kernel - 1 if causal else 0

    def forward(self, x_BCT: Tensor, past: Past | None = None) -> Tensor:
        if self.reach:
            x_BCT = extended(past, self, x_BCT, self.reach)
        return super().forward(x_BCT)


class Mish(nn.Module):
    """x tanh(log(1 + e^x)). torch's own module is the same, but nine times as slow to train on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * F.softplus(x).tanh()


class Norm(nn.GroupNorm):
    """Group normalisation; a causal one normalises each step alone, not over time."""

    def __init__(self, groups: int, channels: int, causal: bool) -> None:
        super().__init__(groups, channels)
        self.causal = causal

    def forward(self, x_BCT: Tensor) -> Tensor:
        if not self.causal:
            return super().forward(x_BCT)
        steps = x_BCT.transpose(1, 2)
        normed = F.group_norm(steps.flatten(0, 1), self.num_groups, self.weight, self.bias, self.eps)
        return normed.view(steps.shape).transpose(1, 2)
