"""Models of diarize in other batches than those of a CPU: where GPU memory is too small for a whole one."""

import numpy as np
import pytest
import soundfile
import torch

from pipeline.models import resolve
from stages.diarize.embedding import SpeakerEmbedding
from stages.diarize.segmentation import Segmentation
from tests.paths import DEMO


@pytest.fixture(scope="module")
def talk():
    samples, rate = soundfile.read(DEMO / "conversations" / "ami_trn09.flac", dtype="float32")
    assert rate == 16_000
    return samples


def limited(model, most):
    """The model of a device that has memory for `most` rows at once; the sizes that it computed."""
    forward, sizes = model.forward, []

    def limited_forward(rows):
        if len(rows) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        sizes.append(len(rows))
        return forward(rows)

    model.forward = limited_forward
    return sizes


def test_segmentation_in_halves_finds_the_same(talk):
    segmentation = Segmentation(resolve("package:pyannote-segmentation-3.0").path)
    whole = segmentation(talk)
    sizes = limited(segmentation._model, 3)
    halves = segmentation(talk)
    assert max(sizes) <= 3 < len(whole.local)
    assert np.array_equal(halves.local, whole.local)
    assert np.array_equal(halves.count, whole.count)


def test_embeddings_in_halves_are_the_same(talk):
    embedding = SpeakerEmbedding(resolve("package:campplus-zh-en").path)
    pieces = [talk[start : start + 24_000] for start in range(0, 7 * 24_000, 24_000)]
    whole = embedding(pieces)
    sizes = limited(embedding._model, 2)
    assert np.allclose(embedding(pieces), whole, atol=1e-5)
    assert sizes == [1, 2, 2, 2]
