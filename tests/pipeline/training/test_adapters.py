"""`lora` in a training recipe: a chain of adapted stages, and its plan."""

import json

import pytest

from stages.train.metrics import read_metrics
from stages.train.weights import SafetensorsFolder
from tests.paths import ROOT


def test_adapted_stages_are_merged_like_others(untrained, command):
    adapted = {"steps": 2, "lora": {"rank": 2}}
    recipe = untrained(
        pretrain={"families": ["asr", "tts"], "steps": 1},
        sft1=adapted,
        sft2="absent",
        dpo=adapted,
        merge={"weights": {"sft1": 1, "dpo": 1}},
    )
    done = command("train", recipe)
    assert done.code == 0, done.stderr
    folder = recipe.parent / "runs" / "chain"
    assert read_metrics(folder / "dpo" / "metrics.jsonl")[0]["dpo"]["margin"] == 0
    pretrained, sft1, dpo, merged = (
        SafetensorsFolder(folder / name / "model") for name in ("pretrain", "sft1", "dpo", "merge")
    )
    assert pretrained.specs == sft1.specs == dpo.specs == merged.specs
    for name in merged.specs:
        mean = (sft1.tensor(name) + dpo.tensor(name)) / 2
        assert (merged.tensor(name) - mean).abs().max() < 1e-6


def test_an_unknown_projection_is_told_before_anything_is_trained(untrained, command, tmp_path):
    recipe = untrained(pretrain={"families": ["asr"], "steps": 1}, dpo={"lora": {"targets": ["query"]}})
    done = command("train", recipe)
    assert done.code == 1
    assert "dpo, on " in done.stderr
    assert "no projection query; they have down_proj, " in done.stderr
    assert not (tmp_path / "runs" / "chain" / "pretrain" / "metrics.jsonl").exists()


def test_the_plan_knows_what_adapters_save(command, monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.models.CACHE", tmp_path)
    recipe = ROOT / "pipeline" / "recipes" / "train" / "step-audio-tts-3b.yaml"
    arguments = ("--plan", "--dataset", tmp_path / "later", "--gpus", "1", "--json")
    with_lora = ("--set", "sft1.lora={}")
    (every, _), (adapted, _) = (
        json.loads(command("train", recipe, *arguments, *settings).stdout)["stages"]
        for settings in ((), with_lora)
    )
    assert every["trained_parameters"] == 3_529_706_496
    assert adapted["trained_parameters"] == 27_000_832
    memory = adapted["memory_per_gpu"]
    assert memory["optimizer"] == 8 * 27_000_832
    assert memory["weights"] == pytest.approx(2 * 3_529_706_496 + 4 * 27_000_832, rel=1e-6)
    assert (
        "LoRA: 27,000,832 parameters are trained"
        in command("train", recipe, *arguments[:-1], *with_lora).stdout
    )
