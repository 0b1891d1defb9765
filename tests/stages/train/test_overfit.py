import json
from collections import defaultdict

import pytest
import torch

from stages.train.checkpoint import load
from stages.train.config import TrainConfig
from stages.train.loop import TrainingData
from stages.train.metrics import read_metrics
from stages.train.run import Start, run
from stages.train.shape import PRESETS

SHORT = TrainConfig(
    families=("asr", "tts"),
    sequence_length=200,
    global_batch_size=2,
    steps=130,
    learning_rate=1e-2,
    final_learning_rate=1e-3,
    weight_decay=0,
    precision="float32",
)
"""Some twenty epochs of the short turns of a version."""


@pytest.mark.slow
def test_tiny_learns_a_built_version_by_heart(small_build, opened, tmp_path):
    torch.set_num_threads(1)
    manifest = json.loads((small_build.version / "manifest.json").read_text())
    documents = opened(sorted(small_build.version.glob("shards/train-*.tar")))
    data = TrainingData(documents, manifest["vocabulary"], {"version": manifest["version"]})
    finished = run(SHORT, lambda: data, Start(preset="tiny"), tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    first, last = mean_losses(lines[:1]), mean_losses(lines[-10:])
    assert first.keys() == last.keys() == {"text", "linguistic", "semantic"}
    for modality, loss in last.items():
        assert loss < first[modality] / 2, modality
    assert load(finished).shape.layers == PRESETS["tiny"].layers


def mean_losses(lines):
    found = defaultdict(list)
    for line in lines:
        for modality, loss in line["modalities"].items():
            found[modality].append(loss)
    return {modality: sum(losses) / len(losses) for modality, losses in found.items()}
