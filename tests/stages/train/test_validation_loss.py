"""The loss on the validation side, measured while a run trains."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from schemas.errors import SetupError
from schemas.hashing import shuffle_key
from schemas.sample import Sample
from stages.shard import ShardConfig, write_shards
from stages.train.checkpoint import load, save
from stages.train.config import ModalityWeights, ValidationLossConfig
from stages.train.loop import TrainingData
from stages.train.metrics import read_metrics
from stages.train.run import Start, run
from stages.train.weights import SafetensorsFolder
from tests.stages.train import narrow
from tests.stages.train.narrow import SFT, model

VALIDATED = {"steps": 5, "validation": ValidationLossConfig(every=2, batches=None)}
CONFIG = SFT.model_copy(update={**VALIDATED, "modality_weights": ModalityWeights(text=2)})
DPO = narrow.DPO.model_copy(update=VALIDATED)


@pytest.fixture
def held_out(tmp_path, opened):
    """Eleven other samples, of a family more."""
    rng = np.random.default_rng(1)
    samples = []
    for n in range(11):
        tokens = rng.integers(3, 70, rng.integers(10, 50)).astype(np.int32)
        loss = (np.arange(len(tokens)) > 4).astype(np.uint8)
        family = ("asr", "tts", "aqta")[n % 3]
        samples.append(Sample(f"held-{n:02}", family, {"family": family}, tokens, loss, ()))
    samples.sort(key=lambda sample: shuffle_key(sample.key))
    (tmp_path / "held").mkdir()
    shards = write_shards(samples, tmp_path / "held", "validation", 0, ShardConfig(megabytes=0.05))
    return opened([shard.path for shard in shards])


@pytest.fixture
def data(ids, sample_shards, opened, held_out):
    return TrainingData(opened(sample_shards), ids, {"version": "1"}, held_out)


@pytest.fixture
def start(tmp_path):
    save(model(), tmp_path / "start")
    return Start(checkpoint=tmp_path / "start")


def measured(folder):
    lines = read_metrics(folder / "metrics.jsonl")
    return {line["step"] + 1: line["validation"] for line in lines if "validation" in line}


def losses_apart(model, documents, entries):
    """(family, modality, loss) of every target, each document alone, with whole logits."""
    found = []
    for entry in entries:
        (document,) = documents.read([entry])
        tokens = torch.from_numpy(document.tokens.astype("int64"))
        with torch.no_grad():
            losses = F.cross_entropy(model(tokens[None])[0, :-1], tokens[1:], reduction="none")
        for token, loss, is_target in zip(
            tokens[1:].tolist(), losses.tolist(), document.loss[1:], strict=True
        ):
            if is_target:
                kind = "text" if token < 40 else "linguistic" if token < 50 else "semantic"
                found.append((document.family, kind, loss))
    return found


def mean(values):
    values = list(values)
    return pytest.approx(sum(values) / len(values), abs=1e-5)


def test_it_is_the_loss_that_each_document_has_alone(data, start, tmp_path):
    model = load(run(CONFIG, lambda: data, start, tmp_path / "run"))
    found = measured(tmp_path / "run")
    assert list(found) == [2, 4, 5]
    apart = losses_apart(model, data.validation, range(11))
    last = found[5]
    for group, at in (("families", 0), ("modalities", 1)):
        assert last[group].keys() == {each[at] for each in apart}
        for name, value in last[group].items():
            assert value == mean(each[2] for each in apart if each[at] == name)
    weights = [2 if kind == "text" else 1 for _, kind, _ in apart]
    weighted = sum(w * loss for w, (_, _, loss) in zip(weights, apart, strict=True)) / sum(weights)
    assert last["loss"] == pytest.approx(weighted, abs=1e-5)


def test_it_changes_nothing_of_what_is_trained(data, start, tmp_path):
    with_loss = run(CONFIG, lambda: data, start, tmp_path / "with")
    alone = replace(data, validation=None)
    without = run(CONFIG.model_copy(update={"validation": None}), lambda: alone, start, tmp_path / "without")
    a, b = SafetensorsFolder(with_loss), SafetensorsFolder(without)
    assert all(torch.equal(a.tensor(name), b.tensor(name)) for name in a.specs)


def test_a_resumed_run_measures_the_same(data, start, tmp_path):
    run(CONFIG, lambda: data, start, tmp_path / "whole")

    def stop(metrics):
        if metrics["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, lambda: data, start, tmp_path / "stopped", stop)
    run(CONFIG, lambda: data, start, tmp_path / "stopped")
    assert measured(tmp_path / "stopped") == measured(tmp_path / "whole")


def test_few_batches_are_the_same_documents_for_every_seed(data, start, tmp_path):
    few = ValidationLossConfig(every=9, batches=1)
    found = []
    for seed in (0, 1):
        config = CONFIG.model_copy(
            update={"seed": seed, "validation": few, "steps": 1, "learning_rate": 1e-30}
        )
        config = config.model_copy(update={"global_batch_size": 2, "final_learning_rate": 0})
        run(config, lambda: data, start, tmp_path / f"{seed}")
        found.append(measured(tmp_path / f"{seed}")[1]["loss"])
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_dpo_is_measured_by_its_own_loss_against_its_start(ids, narrow_pair_shards, opened, start, tmp_path):
    pairs = opened(narrow_pair_shards)
    data = TrainingData(pairs, ids, {"version": "1"}, pairs)
    still = DPO.model_copy(update={"learning_rate": 1e-30, "final_learning_rate": 0, "steps": 1})
    run(still, lambda: data, start, tmp_path / "still")
    (only,) = measured(tmp_path / "still").values()
    assert only["loss"] == pytest.approx(math.log(2), abs=1e-5)
    run(DPO.model_copy(update={"steps": 8}), lambda: data, start, tmp_path / "run")
    last = measured(tmp_path / "run")[8]
    assert last["loss"] < math.log(2)
    assert last["dpo"]["margin"] > 0


def test_a_version_without_a_validation_side_is_refused(data, start, tmp_path):
    with pytest.raises(SetupError, match=r"0 documents .*`shard.validation_share` above 0, or remove"):
        run(CONFIG, lambda: replace(data, validation=None), start, tmp_path / "run")
