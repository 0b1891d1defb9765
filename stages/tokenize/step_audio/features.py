"""Input features of the encoders: stacked Kaldi filter banks, and Whisper's log-mel spectrum.

Frames are independent, so that those of several utterances are processed as one batch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stages.stage import SAMPLE_RATE

FRAME = 400
"""Samples (25 ms)."""
HOP = 160
FBANK_BINS = 80
MEL_BINS = 128
STACKED = 7
"""Consecutive frames in a row of the linguistic encoder's input. Rows are six frames apart."""


def framed(samples: Tensor) -> Tensor:
    """Whole frames of samples [n], [1 + (n - 400) // 160, 400]; none for fewer than 400 samples."""
    return samples.unfold(0, FRAME, HOP) if len(samples) >= FRAME else samples.new_zeros(0, FRAME)


class FilterBank(nn.Module):
    """Kaldi's log-mel filter bank with 80 bins in 16-bit scale, on which Paraformer was trained."""

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hamming_window(FRAME, periodic=False, alpha=0.54, beta=0.46))
        self.register_buffer("filters", torch.from_numpy(_kaldi_filters()))

    def forward(self, frames: Tensor) -> Tensor:
        """Filter banks of frames with full scale at 1.0, [n, 400] -> [n, 80]."""
        x = frames * 32768
        x = x - x.mean(dim=1, keepdim=True)
        x = x - 0.97 * torch.cat([x[:, :1], x[:, :-1]], dim=1)
        power = _power(x * self.window, 512)
        return (power @ self.filters).clamp_min(torch.finfo(torch.float32).eps).log()


def stacked(frames: Tensor, count: int) -> Tensor:
    """Rows of seven frames, six frames apart (low frame rate), [g, 80] -> [count, 560].

    The first row begins with the first frame. The last frame is repeated as needed.
    """
    short = max(0, 6 * (count - 1) + STACKED - len(frames))
    frames = torch.cat([frames, frames[-1:].expand(short, -1)])
    rows = frames.unfold(0, STACKED, 6)[:count]
    return rows.transpose(1, 2).reshape(count, -1)


class LogMel(nn.Module):
    """Whisper's log-mel spectrum with 128 bins."""

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        import librosa

        super().__init__()
        filters = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=FRAME, n_mels=MEL_BINS)
        self.register_buffer("window", torch.hann_window(FRAME))
        self.register_buffer("filters", torch.from_numpy(filters.T.copy()))

    def forward(self, pieces: Sequence[Tensor]) -> Tensor:
        """Spectra [pieces, max n_i // 160, 128] of pieces [n_i] of 480 samples or more, padded with zeros."""
        counts = [len(piece) // HOP for piece in pieces]
        frames = [
            framed(F.pad(piece[None], (FRAME // 2, FRAME // 2), mode="reflect")[0])[:count]
            for piece, count in zip(pieces, counts, strict=True)
        ]
        power = _power(torch.cat(frames) * self.window, FRAME)
        log = (power @ self.filters).clamp_min(1e-10).log10()
        each = nn.utils.rnn.pad_sequence(list(log.split(counts)), batch_first=True, padding_value=-torch.inf)
        loudest = each.amax(dim=(1, 2), keepdim=True)
        mel = (torch.maximum(each, loudest - 8) + 4) / 4
        return mel.masked_fill(each == -torch.inf, 0)


def _power(frames: Tensor, size: int) -> Tensor:
    """Power spectrum of frames, [n, m] -> [n, size // 2 + 1]."""
    return torch.view_as_real(torch.fft.rfft(frames, size)).square().sum(dim=-1)


def _kaldi_filters() -> NDArray[np.float32]:
    """Triangular filters of equal width on the mel scale between 20 and 8000 Hz, float32 [257, 80]."""
    hertz = np.array([20, SAMPLE_RATE / 2, *np.arange(257) * SAMPLE_RATE / 512])
    low, high, *bins = 1127 * np.log1p(hertz / 700)
    edges = np.linspace(low, high, FBANK_BINS + 2)
    at = np.array(bins)[:, None]
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float32] = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return filters
