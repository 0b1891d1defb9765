"""A classifier with random weights: what it says means nothing, but must be what transformers says."""

import numpy as np
import pytest
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
)

from schemas.errors import SetupError
from stages.evaluate.emotion import EmotionRecogniser

LABELS = ("ang", "生气/Sadness", "Happy", "calm")


def saved(folder, labels, kind=Wav2Vec2ForSequenceClassification):
    torch.manual_seed(0)
    config = Wav2Vec2Config(
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
    )
    kind(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def test_probabilities_are_those_of_the_model_under_plain_names(tmp_path):
    folder = saved(tmp_path, LABELS)
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    heard = EmotionRecogniser(folder)(samples)
    model = Wav2Vec2ForSequenceClassification.from_pretrained(folder).eval()
    normalised = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    with torch.inference_mode():
        expected = model(torch.from_numpy(normalised)[None]).logits[0].softmax(0)
    of_name = {each.name: each.probability for each in heard}
    assert list(of_name) == sorted(of_name, key=lambda name: -of_name[name])
    assert [of_name[name] for name in ("angry", "sad", "happy", "calm")] == pytest.approx(expected.tolist())


def test_a_classifier_of_something_else_is_refused(tmp_path):
    with pytest.raises(SetupError, match="labels are dog, cat, and none of them is angry, happy"):
        EmotionRecogniser(saved(tmp_path, ("dog", "cat")))


def test_a_folder_without_a_classifier_is_refused(tmp_path):
    with pytest.raises(SetupError, match=r"can.t be loaded as an audio classifier"):
        EmotionRecogniser(tmp_path)
