"""The two branches from samples to codes, for batches of utterances.

Codes are int32 [2, n]: the codes, and 1 where rounding might have given another code. Nothing here waits for
the device.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.gpu import halving_on_oom
from stages.stage import SAMPLE_RATE
from stages.tokenize.step_audio.checkpoint import Checkpoint
from stages.tokenize.step_audio.codebook import Nearest
from stages.tokenize.step_audio.counts import LEAST_PIECE, PIECE, linguistic_count, semantic_count
from stages.tokenize.step_audio.device import to_device
from stages.tokenize.step_audio.features import FBANK_BINS, HOP, FilterBank, LogMel, framed, stacked
from stages.tokenize.step_audio.linguistic import NEW, OLD, positioned, windows_of

CHUNKS = {"cpu": 128, "cuda": 2048}
"""Linguistic chunks (240 ms) per batch."""
BUCKET = {"cpu": 30 * SAMPLE_RATE, "cuda": 600 * SAMPLE_RATE}
"""Samples per batch of the semantic encoder, including padding."""
PADDING = 0.1
"""Maximum share of padding in a batch."""
FRAMES = 6000
"""Frames (one minute) for which features are computed at once."""


class LinguisticBranch(nn.Module):
    """Computes a linguistic code every 60 ms."""

    shift: Tensor
    scale: Tensor

    def __init__(self, checkpoint: Checkpoint, seed: int | None = None) -> None:
        """`seed` is that of the dither added to every utterance; None adds none."""
        super().__init__()
        self.bank = FilterBank()
        self.register_buffer("shift", checkpoint.shift)
        self.register_buffer("scale", checkpoint.scale)
        self.encoder = checkpoint.linguistic
        self.nearest = Nearest(checkpoint.linguistic_centres)
        self._dither = checkpoint.dither / 32768
        self._seed = seed

    def forward(self, utterances: Sequence[Tensor]) -> list[Tensor]:
        """Codes of each utterance [n]."""
        counts = [linguistic_count(len(samples)) for samples in utterances]
        long_enough = [(samples, n) for samples, n in zip(utterances, counts, strict=True) if n]
        if not long_enough:
            return [samples.new_zeros(2, 0, dtype=torch.int32) for samples in utterances]
        frames = [self.frames(samples, self.noise()) for samples, _ in long_enough]
        features = self.features(torch.cat(frames)).split([len(f) for f in frames])
        windows = [
            windows_of(nn.functional.pad(self.rows(with_lead(f), 0, n), (0, 0, OLD, 0)))
            for f, (_, n) in zip(features, long_enough, strict=True)
        ]
        chunks = [len(w) for w in windows]
        codes, _ = self.codes(
            torch.cat(windows),
            np.concatenate([np.arange(n) for n in chunks]),
            np.repeat([n for _, n in long_enough], chunks),
            self.encoder.initial_past(),
        )
        by_utterance = codes.split([NEW * -(-n // NEW) for n in counts], dim=1)
        return [code[:, :n] for code, n in zip(by_utterance, counts, strict=True)]

    def noise(self) -> np.random.Generator | None:
        """Generator of the dither of an utterance, which is the same for each; None without dither."""
        return None if self._seed is None else np.random.default_rng(self._seed)

    def frames(self, samples: Tensor, noise: np.random.Generator | None) -> Tensor:
        """Whole frames [g, 400] of samples [n], with dither."""
        frames = framed(samples)
        if noise is None:
            return frames
        drawn = noise.standard_normal(tuple(frames.shape), np.float32)
        return frames + self._dither * to_device(drawn, frames.device)

    def features(self, frames: Tensor) -> Tensor:
        """Filter banks of frames, [g, 400] -> [g, 80]; g may be 0."""
        if not len(frames):
            return frames.new_zeros(0, FBANK_BINS)
        return torch.cat([self.bank(part) for part in frames.split(FRAMES)])

    def rows(self, features: Tensor, first: int, count: int) -> Tensor:
        """Input rows of the encoder from `first` on, [count, 560]; features begin with those of that row."""
        normal = (stacked(features, count) + self.shift) * self.scale
        return positioned(normal, first, self.encoder.sizes.width)

    def codes(
        self, windows: Tensor, chunk: NDArray[np.int64], rows: NDArray[np.int64], past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Codes of the new rows of windows [N, 9, 560], and the past that the next chunk needs.

        chunk: [N], index of each window's chunk in its utterance.
        rows: [N], number of rows of that utterance.
        """
        device = windows.device
        past_end = NEW * chunk[:, None] + np.arange(-OLD, NEW) >= rows[:, None]
        on_device = windows, to_device(chunk, device), to_device(past_end, device)

        def run(part: Sequence[int]) -> Tensor:
            nonlocal past
            encoded, past = self.encoder(*(x[part[0] : part[-1] + 1] for x in on_device), past)
            return _with_doubt(self.nearest, encoded.flatten(0, 1))

        codes: list[Tensor] = []
        for start in range(0, len(windows), CHUNKS[device.type]):
            codes += halving_on_oom(run, range(start, min(start + CHUNKS[device.type], len(windows))))
        return torch.cat(codes, dim=1), past


class SemanticBranch(nn.Module):
    """Computes a semantic code every 40 ms."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.mel = LogMel()
        self.encoder = checkpoint.semantic
        self.nearest = Nearest(checkpoint.semantic_centres)

    def forward(self, utterances: Sequence[Tensor]) -> list[Tensor]:
        """Codes of each utterance [n]. Utterances are cut every 30 s."""
        cut = [[p for p in samples.split(PIECE) if len(p) >= LEAST_PIECE] for samples in utterances]
        pieces = [piece for these in cut for piece in these]
        codes: dict[int, Tensor] = {}
        for bucket in buckets([len(piece) for piece in pieces], BUCKET[utterances[0].device.type]):
            padded = halving_on_oom(lambda part: self._codes([pieces[i] for i in part]), bucket)
            for index, row in zip(bucket, (row for rows in padded for row in rows), strict=True):
                codes[index] = row[:, : semantic_count(len(pieces[index]))]
        none = utterances[0].new_zeros(2, 0, dtype=torch.int32)
        each = (codes[index] for index in range(len(pieces)))
        return [torch.cat([none, *(next(each) for _ in these)], dim=1) for these in cut]

    def _codes(self, pieces: Sequence[Tensor]) -> Tensor:
        """Codes of each piece, padded: [pieces, 2, most codes]."""
        counts = [len(piece) // HOP for piece in pieces]
        ragged = min(counts) < max(counts)
        lengths = to_device(np.array(counts), pieces[0].device) if ragged else None
        return _with_doubt(self.nearest, self.encoder(self.mel(pieces), lengths))


def with_lead(features: Tensor) -> Tensor:
    """Features with the first one repeated three times in front, since the first row is centred on it."""
    return torch.cat([features[:1].expand(3, -1), features])


def buckets(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices in groups of similar length, each at most `most` including a small share of padding."""
    groups: list[list[int]] = []
    filled = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[groups[-1][0]] if groups else 0
        padded = longest * (len(groups[-1]) + 1) if groups else 0
        if padded > most or not groups or padded * (1 - PADDING) > filled + lengths[index]:
            groups.append([])
            filled = 0
        groups[-1].append(index)
        filled += lengths[index]
    return groups


def _with_doubt(nearest: Nearest, encoded: Tensor) -> Tensor:
    codes, doubtful = nearest(encoded)
    return torch.stack([codes, doubtful.int()], dim=-2)
