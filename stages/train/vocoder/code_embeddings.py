"""What each code sounds like in the speech at hand: where its embedding begins.

A code of 4,096 is heard a few times a minute, and an embedding learns only then; its mean mel knows nearly
all that it will.
"""

import numpy as np
import torch
from torch import Tensor

from stages.train.packing import sequences_of
from stages.train.vocoder.mel import log_mel
from stages.train.vocoder.shape import MELS, frames_of
from stages.train.vocoder.utterances import Utterances

AROUND = (-3, 0, 3)
"""Frames of 11.6 ms from the middle of a token."""
MOST = 4000
"""Utterances that are listened to."""


def initial_embeddings(speech: Utterances, codes: int, width: int, seed: int) -> Tensor:
    """embedding_CD of all codes, of deviation 1: principal components of their mean mels; random numbers
    for a code that is never heard."""
    sums = np.zeros((codes, len(AROUND) * MELS))
    heard = np.zeros(codes, int)
    for number in sequences_of(0, min(MOST, len(speech)), len(speech), seed):
        utterance = speech.read(number)
        mel_MT = log_mel(utterance.sound()[None])[0].numpy()
        middle_L = np.array([frames_of(2 * n + 1) // 2 for n in range(len(utterance.tokens))])
        at_LF = (middle_L[:, None] + AROUND).clip(0, mel_MT.shape[1] - 1)
        around_LM = mel_MT[:, at_LF].transpose(1, 2, 0).reshape(len(at_LF), -1)
        np.add.at(sums, utterance.tokens, around_LM)
        np.add.at(heard, utterance.tokens, 1)
    known = heard > 0
    means = sums[known] / heard[known, None]
    left, spread, _ = np.linalg.svd(means - means.mean(0), full_matrices=False)
    components = (left * np.sqrt(spread))[:, :width]
    embedding = np.random.default_rng([seed, 3]).standard_normal((codes, width))
    embedding[known] = 0
    embedding[known, : components.shape[1]] = components * np.sqrt(known.sum() * width / spread[:width].sum())
    return torch.from_numpy(embedding).float()
