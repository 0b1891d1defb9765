"""`evaluate` of a training recipe: the model answers a small benchmark while it trains."""

import json

import pytest

from stages.train.metrics import read_metrics

TOWN = {
    "id": "town",
    "dimension": "logical_reasoning",
    "turns": [{"text": "When does the ferry leave?"}, {"text": "Say that slower."}],
    "checks": [{"kind": "contains", "any": ["nine"]}, {"kind": "voice", "turn": 2, "label": "slow"}],
}


@pytest.fixture
def benchmark(tmp_path):
    file = tmp_path / "bench.jsonl"
    file.write_text(json.dumps(TOWN) + "\n")
    return file


@pytest.fixture
def answering(untrained, benchmark):
    """A recipe that only trains sft1, for six steps, and is evaluated every four."""
    evaluate = {"every": 4, "benchmark": str(benchmark), "max_tokens": 30}
    only = dict.fromkeys(("pretrain", "sft2", "dpo", "merge"), "absent")
    return lambda **changes: untrained(**({"sft1": {"steps": 6}, "evaluate": evaluate} | only | changes))


def metrics_of(recipe):
    return read_metrics(recipe.parent / "runs" / "chain" / "sft1" / "metrics.jsonl")


def test_the_curve_is_in_the_metrics_in_tensorboard_and_in_the_results(answering, command):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = answering()
    done = command("train", recipe, "--json")
    assert done.code == 0, done.stderr
    lines = metrics_of(recipe)
    assert [line["step"] for line in lines if "answers" in line] == [3, 5]
    found = lines[3]["answers"]
    assert {"rules", "grammar", "silent", "failed"} <= found.keys()
    assert found["failed"] == 0
    assert "obeyed" not in found, "answers that aren't spoken can't be slower"
    assert 0 <= found["grammar"] <= 1
    assert found["grammar"] + sum(found.get("broken", {}).values()) == pytest.approx(1)
    folder = recipe.parent / "runs" / "chain" / "sft1"
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("answers/rules")] == [3, 5]
    assert "grammar" in (folder / "report.html").read_text()
    (stage,) = json.loads(done.stdout)["stages"]
    assert stage["answers"] == lines[5]["answers"]
    assert "sft1 after 4 steps: rules " in done.stderr
    kept = json.loads((folder / "answers" / "answers" / "step-000004" / "town.json").read_text())
    assert kept["turns"][0]["grammar"]["steps"] > 0


def test_it_changes_nothing_of_what_is_trained(answering, command, tmp_path):
    with_answers = answering()
    assert command("train", with_answers).code == 0
    weights = tmp_path / "runs" / "chain" / "sft1" / "model" / "model.safetensors"
    trained = weights.read_bytes()
    without = answering(evaluate="absent", output="plain")
    assert command("train", without).code == 0
    other = tmp_path / "plain" / "chain" / "sft1" / "model" / "model.safetensors"
    assert other.read_bytes() == trained
    assert command("train", with_answers, "--set", "evaluate.every=1").code == 0, "a finished stage"


def test_what_is_missing_is_told_before_anything_is_trained(answering, command, tmp_path):
    recipe = answering(pretrain={"families": ["asr"], "steps": 1}, evaluate={"benchmark": "./nowhere.jsonl"})
    done = command("train", recipe)
    assert done.code == 1
    assert "nowhere.jsonl" in done.stderr
    assert not (tmp_path / "runs" / "chain" / "pretrain" / "metrics.jsonl").exists()


def test_answers_of_other_settings_are_not_mixed(answering, command, tmp_path):
    recipe = answering()
    assert command("train", recipe).code == 0
    (tmp_path / "runs" / "chain" / "sft1" / "model").rename(tmp_path / "away")
    done = command("train", recipe, "--set", "evaluate.temperature=1")
    assert done.code == 1
    assert "with another sampling" in done.stderr
    assert "Set `evaluate` as it was, or remove that folder" in done.stderr
