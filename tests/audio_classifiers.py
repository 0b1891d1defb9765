"""Classifiers with random weights: what they say means nothing, but must be what transformers says."""

from pathlib import Path

import numpy as np
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification


def saved(folder: Path, labels, seed=0, **config) -> Path:
    """The folder of a classifier with these labels."""
    torch.manual_seed(seed)
    shape = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 3),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        **config,
    )
    Wav2Vec2ForSequenceClassification(shape).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def logits(folder: Path, samples) -> torch.Tensor:
    """What transformers says of samples [n]."""
    model = Wav2Vec2ForSequenceClassification.from_pretrained(folder).eval()
    normalised = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    with torch.inference_mode():
        return model(torch.from_numpy(normalised)[None]).logits[0]


def noise(seed=0):
    """A second of noise, at 16 kHz."""
    return np.random.default_rng(seed).normal(0, 0.1, 16_000).astype(np.float32)
