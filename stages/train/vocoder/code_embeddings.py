"""Initial embeddings of codes, from what each code sounds like in the training data.

One of 4,096 codes occurs a few times a minute, and its embedding is trained only then; its mean mel has
nearly all the information from the start. The same holds for latents.
"""

import numpy as np
import torch
from torch import Tensor

from stages.train.packing import sequences_of
from stages.train.vocoder.shape import frames_of
from stages.train.vocoder.utterances import Utterances

OFFSETS = (-3, 0, 3)
"""Frames (of 11.6 ms) relative to the middle of a token."""
MAX_UTTERANCES = 4000
"""Number of utterances that are used."""


def initial_embeddings(
    speech: Utterances, codes: int, features: int, width: int, seed: int
) -> tuple[Tensor, Tensor]:
    """embedding_CD of all codes, with standard deviation 1: principal components of their mean mels (or other
    features), and random numbers for codes that don't occur; and how often each occurs, counts_C."""
    sums = np.zeros((codes, len(OFFSETS) * features))
    counts = np.zeros(codes, int)
    for number in sequences_of(0, min(MAX_UTTERANCES, len(speech)), len(speech), seed):
        utterance = speech.read(number)
        mel_MT = utterance.features().numpy()
        middle_L = np.array([frames_of(2 * n + 1) // 2 for n in range(len(utterance.tokens))])
        at_LF = (middle_L[:, None] + OFFSETS).clip(0, mel_MT.shape[1] - 1)
        around_LM = mel_MT[:, at_LF].transpose(1, 2, 0).reshape(len(at_LF), -1)
        np.add.at(sums, utterance.tokens, around_LM)
        np.add.at(counts, utterance.tokens, 1)
    occurs = counts > 0
    means = sums[occurs] / counts[occurs, None]
    left, spread, _ = np.linalg.svd(means - means.mean(0), full_matrices=False)
    components = (left * np.sqrt(spread))[:, :width]
    embedding = np.random.default_rng([seed, 3]).standard_normal((codes, width))
    embedding[occurs] = 0
    embedding[occurs, : components.shape[1]] = components * np.sqrt(
        occurs.sum() * width / spread[:width].sum()
    )
    return torch.from_numpy(embedding).float(), torch.from_numpy(counts)


def feature_statistics(speech: Utterances, seed: int) -> Tensor:
    """Mean and standard deviation of each feature over frames, statistics_2M."""
    numbers = sequences_of(0, min(MAX_UTTERANCES, len(speech)), len(speech), seed)
    sums = torch.zeros(())
    for number in numbers:
        features_MT = speech.read(number).features().double()
        ones_MT = torch.ones_like(features_MT)
        sums = sums + torch.stack([ones_MT.sum(1), features_MT.sum(1), features_MT.square().sum(1)])
    count_M, sum_M, squares_M = sums
    mean_M = sum_M / count_M
    return torch.stack([mean_M, (squares_M / count_M - mean_M.square()).clamp(min=1e-6).sqrt()]).float()
