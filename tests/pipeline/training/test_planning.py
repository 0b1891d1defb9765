"""`aqaa-data train --plan`: memory, layout and hours, before anything is trained."""

import json

import pyarrow.parquet as pq
import pytest

from pipeline.versions.reader import Reference, open_version
from tests.paths import ROOT


@pytest.fixture(scope="module")
def tokens(given):
    """Tokens of spoken questions in the version."""
    version = open_version(Reference.parse(str(given)))
    rows = pq.read_table(version.store.directory / version.path("index.parquet")).to_pylist()
    chosen = [row for row in rows if row["family"] in ("aqta", "aqtaa")]
    return sum(row["text_tokens"] + row["linguistic_tokens"] + row["semantic_tokens"] for row in chosen)


def test_the_plan_follows_from_the_recipe_and_the_version(untrained, command, tokens):
    recipe = untrained(backbone={"preset": "small"}, sft1={"epochs": 3})
    done = command("train", recipe, "--plan", "--gpus", "2", "--gpu", "h100", "--mfu", "0.5", "--json")
    assert done.code == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["parameters"] == plan["backbone_parameters"] + 2 * 5440 * 768
    assert (plan["gpu"], plan["mfu"]) == ("H100", 0.5)
    assert [stage["stage"] for stage in plan["stages"]] == ["pretrain", "sft1", "sft2", "dpo"]
    sft1 = plan["stages"][1]
    assert (sft1["tokens"], sft1["documents"], sft1["problem"]) == (tokens, 24, None)
    assert sft1["tokens_per_step"] == 2 * 512
    assert sft1["steps"] == -(-3 * tokens // 1024)
    assert sft1["layout"] == {"gpus": 2, "tensor_parallel": 1, "data": 2, "fits": True}
    memory = sft1["memory_per_gpu"]
    assert memory["optimizer"] == pytest.approx(8 * plan["parameters"] / 2, rel=1e-6)
    assert memory["total"] == sum(size for kind, size in memory.items() if kind != "total")
    assert plan["merge_bytes"] == 4 * plan["parameters"]
    assert not (recipe.parent / "runs").exists()


def test_a_dataset_that_doesnt_exist_yet_is_planned_for_a_billion_tokens(untrained, command, tmp_path):
    shown = command("train", untrained(), "--plan", "--dataset", tmp_path / "later", "--stage", "sft1").stdout
    assert "1,000,000,000 tokens in 1,000,000 documents" in shown
    assert "for a billion tokens, because there is no dataset 'later'" in shown


def test_a_model_that_doesnt_fit_is_reported(untrained, command):
    recipe = untrained(backbone={"preset": "step1-130b"})
    shown = command("train", recipe, "--plan", "--gpus", "8", "--stage", "sft1").stdout
    assert "DOES NOT FIT, use more GPUs" in shown


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("step-audio-chat", 131_946_590_208),
        ("step-audio-tts-3b", 3_529_706_496),
        ("step-audio-aqaa", 131_946_590_208),
    ],
)
def test_the_public_models_are_planned_without_their_weights(
    name, parameters, command, monkeypatch, tmp_path
):
    """Parameters as on the model cards; of Step-Audio-AQAA those of its text model."""
    monkeypatch.setattr("pipeline.models.CACHE", tmp_path)
    recipe = ROOT / "pipeline" / "recipes" / "train" / f"{name}.yaml"
    done = command("train", recipe, "--plan", "--dataset", tmp_path / "later", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["parameters"] == parameters


def test_wrong_usage_is_refused(untrained, command):
    assert command("train", untrained(), "--gpus", "8").code == 2
    done = command("train", untrained(), "--plan", "--gpu", "tpu")
    assert done.code == 1
    assert "unknown GPU tpu: choose one of h100" in done.stderr
