"""A plain implementation of the linguistic codes: one utterance, chunk by chunk, as in the original."""

import math

import torch
import torchaudio
from torch import Tensor
from torch.nn import functional as F

from stages.tokenize.step_audio.checkpoint import Checkpoint


def linguistic_codes(checkpoint: Checkpoint, samples: Tensor) -> list[int]:
    """Codes of a peak-normalised utterance [n], without dither."""
    rows = input_rows(checkpoint, samples)
    return nearest(checkpoint.linguistic_centres, encode(checkpoint, rows)) if len(rows) else []


def row_count(samples: int) -> int:
    whole, rest = divmod(samples, 3840)
    return 4 * whole + (0 if rest < 880 else math.ceil(((rest - 240) // 160) / 6))


def input_rows(checkpoint: Checkpoint, samples: Tensor) -> Tensor:
    """Normalized filter banks in rows of seven frames, six frames apart, [rows, 560]."""
    count = row_count(len(samples))
    if not count:
        return samples.new_zeros(0, 560)
    frames = torchaudio.compliance.kaldi.fbank(
        samples[None] * 32768,
        num_mel_bins=80,
        frame_length=25,
        frame_shift=10,
        dither=0.0,
        energy_floor=0.0,
        window_type="hamming",
        sample_frequency=16000,
    )
    last = len(frames) - 1
    rows = [
        torch.cat([frames[min(max(i, 0), last)] for i in range(6 * t - 3, 6 * t + 4)]) for t in range(count)
    ]
    return (torch.stack(rows) + checkpoint.shift) * checkpoint.scale


def encode(checkpoint: Checkpoint, rows: Tensor) -> Tensor:
    """Encoder output, [rows, 560] -> [rows, width]."""
    weights = checkpoint.linguistic.state_dict()
    sizes = checkpoint.linguistic.sizes
    names = ["encoders0.0", *(f"encoders.{n}" for n in range(sizes.blocks - 1))]
    rate = torch.exp(torch.arange(280, device=rows.device) * (-math.log(10_000) / 279))
    angle = torch.arange(1, len(rows) + 1, device=rows.device)[:, None] * rate
    x = rows * math.sqrt(sizes.width) + torch.cat([angle.sin(), angle.cos()], dim=1)
    old = rows.new_zeros(5, 560)
    kept: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in names}
    encoded = []
    for new in x.split(4):
        y = torch.cat([old, new])
        old = y[-5:]
        for name in names:
            layer = {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}
            y = layer_output(layer, y, kept[name], sizes.heads, residual=name != "encoders0.0")
        y = y[-len(new) :]
        encoded.append(
            F.layer_norm(y, y.shape[1:], weights["after_norm.weight"], weights["after_norm.bias"], 1e-12)
        )
    return torch.cat(encoded)


def layer_output(
    w: dict[str, Tensor], x: Tensor, kept: list[tuple[Tensor, Tensor]], heads: int, residual: bool
) -> Tensor:
    """A layer on the rows of a chunk. `kept` has keys and values of previous chunks; its own are appended."""
    y = F.layer_norm(x, x.shape[1:], w["norm1.weight"], w["norm1.bias"], 1e-12)
    q, k, v = F.linear(y, w["self_attn.linear_q_k_v.weight"], w["self_attn.linear_q_k_v.bias"]).chunk(
        3, dim=1
    )
    keys = torch.cat([*(key for key, _ in kept[-4:]), k])
    values = torch.cat([*(value for _, value in kept[-4:]), v])
    kept.append((k[:4], v[:4]))
    by_head = [z.unflatten(1, (heads, -1)).transpose(0, 1) for z in (q, keys, values)]
    scores = by_head[0] @ by_head[1].transpose(1, 2) / math.sqrt(q.shape[1] // heads)
    attended = (scores.softmax(dim=-1) @ by_head[2]).transpose(0, 1).flatten(1)
    attended = F.linear(attended, w["self_attn.linear_out.weight"], w["self_attn.linear_out.bias"])
    taps = w["self_attn.fsmn_block.weight"]
    memory = F.conv1d(v.T[None], taps, padding=taps.shape[2] // 2, groups=len(taps))[0].T + v
    x = (x if residual else 0) + attended + memory
    y = F.layer_norm(x, x.shape[1:], w["norm2.weight"], w["norm2.bias"], 1e-12)
    y = F.linear(
        F.relu(F.linear(y, w["feed_forward.w_1.weight"], w["feed_forward.w_1.bias"])),
        w["feed_forward.w_2.weight"],
        w["feed_forward.w_2.bias"],
    )
    return x + y


def nearest(centres: Tensor, encoded: Tensor) -> list[int]:
    return torch.cdist(encoded, centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1).tolist()
