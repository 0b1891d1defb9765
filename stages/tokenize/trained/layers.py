"""Whisper's layers in torch. Names of tensors end in their dimensions: B utterances, T time, D width."""

import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

Weights = Mapping[str, Tensor]
"""By CTranslate2's names."""


class WhisperAttention(nn.Module):
    """Multi-head attention to `memory`, or to the input itself."""

    def __init__(self, width: int, heads: int, crosses: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.crosses = crosses

    def forward(
        self,
        x_BTD: Tensor,
        memory_BSD: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """`mask` [B, 1, 1, S] is False where there is nothing to attend to."""
        normed_BTD = self.norm(x_BTD)
        source_BSD = normed_BTD if memory_BSD is None else memory_BSD
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(normed_BTD), *self.key_value(source_BSD).chunk(2, -1))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        attended: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return x_BTD + attended

    def load(self, weights: Weights, name: str) -> None:
        """Take the weights from a layer, such as `decoder/layer_0/attention`."""
        linears = [[weights[f"{name}/linear_{n}/{part}"] for part in ("weight", "bias")] for n in (0, 1)]
        width = self.out.weight.shape[0]
        if self.crosses:
            linears.append([weights[f"{name}/linear_2/{part}"] for part in ("weight", "bias")])
        else:  # query, key and value in one
            first = linears[0]
            linears = [[p[:width] for p in first], [p[width:] for p in first], linears[1]]
        for linear, (weight, bias) in zip((self.query, self.key_value, self.out), linears, strict=True):
            linear.weight.data.copy_(weight)
            linear.bias.data.copy_(bias)
        load_norm(self.norm, weights, name)


class WhisperFeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        added: Tensor = self.down(F.gelu(self.up(self.norm(x_BTD))))
        return x_BTD + added

    def load(self, weights: Weights, name: str) -> None:
        for n, linear in enumerate((self.up, self.down)):
            linear.weight.data.copy_(weights[f"{name}/linear_{n}/weight"])
            linear.bias.data.copy_(weights[f"{name}/linear_{n}/bias"])
        load_norm(self.norm, weights, name)


class WhisperLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = WhisperAttention(width, heads)
        self.feed_forward = WhisperFeedForward(width)

    def forward(self, x_BTD: Tensor, mask: Tensor | None = None) -> Tensor:
        mixed: Tensor = self.feed_forward(self.attention(x_BTD, mask=mask))
        return mixed

    def load(self, weights: Weights, name: str) -> None:
        self.attention.load(weights, f"{name}/self_attention")
        self.feed_forward.load(weights, f"{name}/ffn")


class TextDecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = WhisperAttention(width, heads)
        self.cross_attention = WhisperAttention(width, heads, crosses=True)
        self.feed_forward = WhisperFeedForward(width)

    def forward(self, x_BND: Tensor, states_BTD: Tensor, mask: Tensor | None = None) -> Tensor:
        x_BND = self.cross_attention(self.attention(x_BND, causal=True), states_BTD, mask)
        mixed: Tensor = self.feed_forward(x_BND)
        return mixed

    def load(self, weights: Weights, name: str) -> None:
        self.attention.load(weights, f"{name}/self_attention")
        self.cross_attention.load(weights, f"{name}/attention")
        self.feed_forward.load(weights, f"{name}/ffn")


class TextDecoder(nn.Module):
    """Whisper's text decoder."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        embeddings = weights["decoder/embeddings/weight"]
        width, heads = embeddings.shape[1], int(weights["decoder/num_heads"])
        self.embeddings = nn.Parameter(embeddings)
        self.positions = nn.Parameter(weights["decoder/position_encodings/encodings"])
        layers = [TextDecoderLayer(width, heads) for _ in range(depth(weights, "decoder"))]
        for n, layer in enumerate(layers):
            layer.load(weights, f"decoder/layer_{n}")
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)
        load_norm(self.norm, weights, "decoder")

    def forward(self, tokens_BN: Tensor, states_BTD: Tensor, mask: Tensor | None = None) -> Tensor:
        """Hidden states [B, N, D]; `logits` makes scores of them."""
        x_BND = self.embeddings[tokens_BN] + self.positions[: tokens_BN.shape[1]]
        for layer in self.layers:
            x_BND = layer(x_BND, states_BTD, mask)
        hidden: Tensor = self.norm(x_BND)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.embeddings.T


class LowerEncoder(nn.Module):
    """Whisper's convolutions and its first `layers` layers."""

    def __init__(self, weights: Weights, layers: int) -> None:
        super().__init__()
        kernels = [weights[f"encoder/conv{n}/weight"] for n in (1, 2)]
        width, self.bands = kernels[0].shape[:2]
        convolutions = [
            nn.Conv1d(kernel.shape[1], width, 3, stride=n, padding=1) for n, kernel in enumerate(kernels, 1)
        ]
        self.convolutions = nn.ModuleList(convolutions)
        for n, (convolution, kernel) in enumerate(zip(convolutions, kernels, strict=True), 1):
            convolution.load_state_dict({"weight": kernel, "bias": weights[f"encoder/conv{n}/bias"]})
        self.positions = nn.Parameter(weights["encoder/position_encodings/encodings"])
        self.layers = encoder_layers(weights, 0, layers)

    def forward(self, mel_BMT: Tensor) -> Tensor:
        """States [B, T / 2, D] of log-mel spectra."""
        for convolution in self.convolutions:
            mel_BMT = F.gelu(convolution(mel_BMT))
        x_BTD = mel_BMT.transpose(1, 2)
        x_BTD = x_BTD + self.positions[: x_BTD.shape[1]]
        for layer in self.layers:
            x_BTD = layer(x_BTD)
        return x_BTD


def encoder_layers(weights: Weights, first: int, end: int) -> nn.ModuleList:
    """Layers `first` to `end` of the encoder."""
    width, heads = weights["encoder/conv1/weight"].shape[0], int(weights["encoder/num_heads"])
    layers = [WhisperLayer(width, heads) for _ in range(first, end)]
    for n, layer in enumerate(layers, first):
        layer.load(weights, f"encoder/layer_{n}")
    return nn.ModuleList(layers)


def depth(weights: Weights, part: str) -> int:
    """Number of layers of the encoder or decoder."""
    numbers = (re.match(rf"{part}/layer_(\d+)/", name) for name in weights)
    return len({number[1] for number in numbers if number})


def load_norm(norm: nn.LayerNorm, weights: Weights, name: str) -> None:
    norm.weight.data.copy_(weights[f"{name}/layer_norm/gamma"])
    norm.bias.data.copy_(weights[f"{name}/layer_norm/beta"])
